use super::*;

fn filled(len: usize) -> (Arena<usize>, Vec<Key>) {
    let mut arena = Arena::default();
    let keys = (0..len).map(|value| arena.insert(value)).collect();
    (arena, keys)
}

#[test]
fn values_stay_where_their_keys_say_while_others_come_and_go() {
    let (mut arena, mut keys) = filled(1_000);
    for value in (0..1_000).step_by(3) {
        assert_eq!(arena.remove(keys[value]), value);
    }
    for value in (0..1_000).step_by(3) {
        keys[value] = arena.insert(value);
    }
    for (value, key) in keys.iter().enumerate() {
        assert_eq!(*arena.at(*key), value);
    }
    assert_eq!((arena.len(), arena.iter().sum::<usize>()), (1_000, 999 * 500));
}

#[test]
fn a_chunk_without_values_is_freed_and_the_lowest_is_filled_first() {
    let (mut arena, keys) = filled(4 * CHUNK_LEN);
    for key in &keys[CHUNK_LEN..2 * CHUNK_LEN] {
        arena.remove(*key);
    }
    assert_eq!(arena.chunks[1].capacity(), 0);
    for key in &keys[3 * CHUNK_LEN..] {
        arena.remove(*key);
    }
    assert_eq!(arena.chunks.len(), 3);
    assert_eq!(arena.insert(7).split().0, 1);
    for key in keys[..CHUNK_LEN].iter().chain(&keys[2 * CHUNK_LEN..3 * CHUNK_LEN]) {
        arena.remove(*key);
    }
    assert_eq!((arena.len(), arena.chunks.len()), (1, 2));
}

#[test]
fn an_empty_arena_owns_nothing_and_begins_with_the_first_key() {
    let (mut arena, keys) = filled(600);
    for key in keys {
        arena.remove(key);
    }
    assert_eq!((arena.chunks.capacity(), arena.with_room.len()), (0, 0));
    assert_eq!(arena.insert(1), Key::FIRST);
}

#[test]
fn full_chunks_have_no_room_to_spare() {
    let (arena, _) = filled(2 * CHUNK_LEN);
    assert!(arena.chunks.iter().all(|chunk| chunk.capacity() == CHUNK_LEN));
    assert_eq!(size_of::<Option<Key>>(), 4);
}
