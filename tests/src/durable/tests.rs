use super::*;

#[test]
fn a_small_disk_is_full_when_filled_and_has_room_again() {
    let Ok(disk) = SmallDisk::mount(4) else { return };
    let file = disk.path().join("file");
    disk.fill();
    assert!(std::fs::write(&file, vec![1; 1 << 20]).is_err());
    disk.empty();
    std::fs::write(&file, vec![1; 1 << 20]).unwrap();
    disk.make_read_only();
    assert!(std::fs::write(&file, [1]).is_err());
}
