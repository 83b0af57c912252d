use super::*;

#[test]
fn every_slot_of_every_shard_has_a_bit_of_its_own() {
    let (slots_max, shards) = (130, 3_u16);
    let row = row_words(slots_max);
    assert_eq!(row, 3);
    let mut taken = std::collections::HashSet::new();
    for shard in 0..shards {
        for slot in 0..slots_max {
            let (word, bit) = place(row, shard, slot);
            assert!(word < row * u32::from(shards));
            assert!(taken.insert((word, bit)), "slot {slot} of shard {shard}");
            let found: Vec<_> = super::slots(word - u32::from(shard) * row, bit).collect();
            assert_eq!(found, [slot]);
        }
    }
}

#[test]
fn a_word_gives_its_slots_in_order() {
    assert_eq!(slots(1, 1 | 1 << 5 | 1 << 63).collect::<Vec<_>>(), [64, 69, 127]);
    assert_eq!(slots(0, 0).count(), 0);
}
