//! What a start leaves on disk, because there is no room for it.

use std::sync::Arc;

use push_server::broker::{Message, SessionMemory, SessionMemoryMax, will_weight_bytes};
use push_server::store::{Opening, SessionNumber, SessionRecord, WillNumber, Write};

use super::rig::{Place, Rig, claims, message, put, put_session, record, unlimited};

claims! {
    a_start_takes_up_so_many_sessions_and_keeps_the_others_on_disk
    a_will_under_way_takes_memory_or_stays_on_disk
}

fn put_ended(number: u64, client_id: &str) -> Write {
    let record = SessionRecord { expiry_secs: 0, ..record(client_id) };
    Write::PutSession { number: SessionNumber(number), record: Box::new(record) }
}

fn a_start_takes_up_so_many_sessions_and_keeps_the_others_on_disk<P: Place>() {
    let place = P::default();
    {
        let mut rig = Rig::at(&place);
        rig.commit(vec![
            put_session(1, "one"),
            // It takes no place.
            put_ended(2, "ended"),
            put_session(3, "three"),
            put_session(4, "four"),
            put(4, 0, &message("t", "owed")),
        ]);
    }
    {
        let rig = Rig::opened(&place, Opening { sessions_max: 2, ..unlimited() });
        let numbers: Vec<_> = rig.recovered.sessions.iter().map(|found| found.number.0).collect();
        assert_eq!(numbers, [1, 2, 3]);
        let left_out = &rig.recovered.left_out;
        assert!(left_out.sessions() == 1 && left_out.has_client("four"));
    }
    let mut rig = Rig::at(&place);
    assert_eq!((rig.recovered.sessions.len(), rig.recovered.left_out.sessions()), (4, 0));
    assert_eq!(rig.outbox(4).len(), 1);
}

fn a_will_under_way_takes_memory_or_stays_on_disk<P: Place>() {
    let place = P::default();
    let will = message("wills", "gone");
    let put_will = |number, message: &Arc<Message>| Write::PutWill {
        session: SessionNumber(1),
        number: WillNumber(number),
        message: Arc::clone(message),
    };
    Rig::at(&place).commit((2..5).map(|number| put_will(number, &will)).collect());
    let bytes = will_weight_bytes(&will);
    let wills = 2 * bytes + 1;
    let memory = SessionMemory::new(SessionMemoryMax { wills, ..SessionMemoryMax::UNLIMITED });
    {
        let memory = Arc::clone(&memory);
        let rig = Rig::opened(&place, Opening { memory, ..unlimited() });
        assert_eq!((rig.recovered.wills.len(), rig.recovered.wills_left_out), (2, 1));
    }
    assert_eq!(memory.wills.used_bytes(), 2 * bytes, "until whoever started gives them back");
    let rig = Rig::at(&place);
    assert_eq!((rig.recovered.wills.len(), rig.recovered.wills_left_out), (3, 0));
}
