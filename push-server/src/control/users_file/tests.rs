use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::access::users::password_line;

const BOB: &str = "bob:$6$eb+iIeYFsqcTutc9$ViYrwM8+cbhtQ+O0RayU03dU1KtJkXtlQaQAWwm2dEH7xzD+rAqmX7sB4WBdTxWpzbbZ/duKI1wL2RJvS8IV2g==";

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("users")
    }

    fn with(text: &str) -> Self {
        let folder = Self::new();
        fs::write(folder.path(), text).expect("written");
        folder
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).expect("read")
    }

    /// Nothing was left beside the file.
    fn is_tidy(&self) -> bool {
        fs::read_dir(self.0.path()).expect("list").count() == 1
    }
}

fn line(name: &str, password: &str) -> String {
    password_line(name, password.as_bytes(), &[7; 16]).expect("a line")
}

#[test]
fn user_is_added_changed_verified_listed_and_removed() {
    let folder = Folder::new();
    let path = folder.path();
    set(&path, "ada", &[line("ada", "pencil")]).expect("made");
    set(&path, "eve", &[line("eve", "x")]).expect("added");
    set(&path, "ada", &[line("ada", "crayon")]).expect("changed");
    assert_eq!(folder.text(), format!("{}\n{}\n", line("ada", "crayon"), line("eve", "x")));
    assert!(verify(&path, "ada", b"crayon").expect("read"));
    assert!(!verify(&path, "ada", b"pencil").expect("read"));
    let cost = "argon2id m=19456,t=2,p=1".to_owned();
    let listed = list(&path).expect("read");
    assert_eq!(listed, [("ada".to_owned(), cost.clone()), ("eve".to_owned(), cost)]);
    remove(&path, "ada").expect("removed");
    assert_eq!(folder.text(), format!("{}\n", line("eve", "x")));
    assert!(folder.is_tidy());
    for failed in [remove(&path, "ada"), verify(&path, "ada", b"crayon").map(drop)] {
        assert!(matches!(failed, Err(UsersFileError::NoSuchUser { .. })), "{failed:?}");
    }
}

#[test]
fn all_lines_of_a_user_are_replaced_and_the_others_stay_as_they_are() {
    let (ada, new) = (line("ada", "a"), line("ada", "b"));
    let scram = users::scram_line("ada", "a", &[7; 16], 4_096).expect("a line");
    let folder = Folder::with(&format!("# first\n{scram}\n  {BOB}  \n\n{ada}\n# last"));
    set(&folder.path(), "ada", std::slice::from_ref(&new)).expect("changed");
    assert_eq!(folder.text(), format!("# first\n{new}\n  {BOB}  \n\n# last\n"));
    remove(&folder.path(), "ada").expect("removed");
    assert_eq!(folder.text(), format!("# first\n  {BOB}  \n\n# last\n"));
}

#[test]
fn file_with_a_wrong_line_is_left_alone_unless_the_change_mends_it() {
    let text = format!("{BOB}\nada:pencil\n");
    let folder = Folder::with(&text);
    let path = folder.path();
    for failed in [set(&path, "eve", &[line("eve", "x")]), list(&path).map(drop)] {
        let message = failed.expect_err("a wrong line").to_string();
        assert!(message.contains(":2: expected NAME:HASH"), "{message}");
        assert!(!message.contains("pencil"), "{message}");
    }
    assert_eq!(folder.text(), text);
    assert!(folder.is_tidy());
    set(&path, "ada", &[line("ada", "pencil")]).expect("mended");
    assert!(verify(&path, "ada", b"pencil").expect("read"));
}

#[test]
fn only_its_owner_can_read_it_and_the_owner_stays() {
    let folder = Folder::with(&format!("{BOB}\n"));
    let path = folder.path();
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("opened up");
    // Only root can give a file away.
    let is_given = std::os::unix::fs::chown(&path, Some(4_321), Some(4_321)).is_ok();
    set(&path, "ada", &[line("ada", "x")]).expect("changed");
    assert_eq!(mode(&path), 0o600);
    let there = fs::metadata(&path).expect("there");
    assert_eq!((there.uid(), there.gid()) == (4_321, 4_321), is_given);
    let made = folder.0.path().join("made");
    set(&made, "ada", &[line("ada", "x")]).expect("made");
    assert_eq!(mode(&made), 0o600);
}

#[test]
fn link_stays_and_what_it_leads_to_is_changed() {
    let (folder, other) = (Folder::with(&format!("{BOB}\n")), Folder::new());
    symlink(folder.path(), other.path()).expect("a link");
    set(&other.path(), "ada", &[line("ada", "x")]).expect("changed");
    assert!(fs::symlink_metadata(other.path()).expect("there").is_symlink());
    assert_eq!(list(&folder.path()).expect("read").len(), 2);
}

#[test]
fn changes_at_the_same_time_are_all_kept() {
    const WRITERS: usize = 8;
    let folder = Folder::new();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let path = folder.path();
            scope.spawn(move || {
                let name = format!("user-{writer}");
                let of_bob = BOB.replacen("bob", &name, 1);
                set(&path, &name, &[of_bob]).expect("changed");
            });
        }
    });
    assert_eq!(list(&folder.path()).expect("read").len(), WRITERS);
}

#[test]
fn file_that_cannot_be_is_named() {
    let message = set(Path::new("/proc/nowhere/users"), "a", &[]).expect_err("refused").to_string();
    assert!(message.starts_with("cannot open /proc/nowhere/users: "), "{message}");
}
