#![cfg_attr(not(any(test, feature = "mutants")), no_std)]
//! What the eBPF program and the server share: records with a fixed layout, the names of counters,
//! and the heartbeat splice as pure functions. It imports `core` only (in the server also aya, for its
//! `Pod`), does no I/O, reads no clock, and knows no packets: segment facts come in, verdicts go out.
//!
//! # The heartbeat splice
//!
//! A connection is *quiescent* when every byte that either side sent has been received, acknowledged
//! and parsed, up to a packet boundary. Only then may the ingress program turn an incoming PINGREQ
//! around into its PINGRESP. TCP on the server never learns of their bytes, so from then on the client's
//! numbers (*C-space*) run ahead of the server's (*S-space*), in its own stream by the length of a PINGREQ
//! a ping and in the server's by that of a PINGRESP, and both programs translate every later segment. In
//! clear MQTT these are 2 and 2 bytes, in WebSocket frames 8 and 4, inside TLS a record's ([`heartbeat`]).
//!
//! The rules, by the numbers that code and tests use:
//!
//! 1. A PINGREQ is answered only if its checksum is right (the IP header's too), its flags are ACK or
//!    ACK and PSH, its payload is a PINGREQ and nothing else, there are no IP options, extension
//!    headers, fragments or congestion mark, TCP options are timestamps at most, the window has room for
//!    the answer, and its timestamp is there if others of the client have one, and not older than what
//!    was taken before it (PAWS, RFC 7323, section 5).
//! 2. Nothing is pending: the last PINGRESP is acknowledged. (Rule 4 implies it.)
//! 3. The client is quiescent: the ping is next behind all that was ever passed to the stack, and user
//!    space has parsed all of that.
//! 4. The server is quiescent: the ping acknowledges all that ever left, that is whole frames, and
//!    the stack has been shown this acknowledgement by an earlier segment.
//! 5. The slot is armed, the generation is the connection's, the shard has stamped its heartbeat within
//!    5 s, and answers leave by the interface that the ping came by. An answer goes to the neighbour on the
//!    link (mostly a router) to which the stack last sent. A ping from another neighbour is left to user
//!    space, so that the stack shows to whom it answers now; from then on pings from there are answered,
//!    to where the stack has sent its own. User space arms a slot only when
//!    both directions of the connection use one interface with our programs, and binds the socket to
//!    it: what passes by no program of ours would not be translated.
//! 6. While a PINGRESP is pending, a segment of the stack without payload leaves as the PINGRESP again.
//! 7. A client that acknowledges exactly up to the pending PINGRESP misses it, and gets it again. It
//!    bears the newest timestamp that the stack has sent, not the one that the client echoes: PAWS
//!    would drop an older one.
//! 8. A retransmission of what the client has acknowledged would land on the PINGRESP's place. It leaves
//!    as the PINGRESP instead of being dropped: where the acknowledgement of the PINGRESP was lost, nobody
//!    else would ask the client.
//! 9. An acknowledgement of the PINGRESP ends pending, also from ahead of what was passed: what lies
//!    between may be lost, and a client that only gets old PINGRESPs hears no ACK. A bare ACK that tells
//!    the stack nothing new is absorbed.
//! 10. Only the stack's own SYN-ACK begins a new connection on the same addresses. Flows outlive their
//!     sockets by two minutes, and by two more each time that the stack has still sent something.
//! 11. What cannot be followed (a fragment that ends within the TCP header, headers that do not add up)
//!     is dropped once a ping has been answered, and passes before; then the flow never answers, because
//!     bytes have gone by that it does not know. What is old by its timestamp is dropped too once a ping
//!     has been answered, because the stack has not seen all that was taken before it; before that it
//!     passes, and tells nothing.
//! 12. Every 256th ping is left to user space, one when the stack has sent nothing for too long, and what
//!     exceeds the ping rate. Too long is a third of the time after which connection tracking on this
//!     host forgets a connection, since it sees nothing of a ping that is answered here. It is a day at
//!     most, because an answer bears the stack's last timestamp and makes it the client's newest: were
//!     the next one of the stack half of the circle ahead, PAWS would drop it for good.
//! 13. Liveness is stamped by new pings alone.
//! 14. Programs outlive a crash of the server (pinned links), and every other end that leaves sockets
//!     which the system goes on to send for. An orderly stop leaves none: it resets them.
//! 15. The sequence number that an ICMP error quotes is translated like the segment that it is about.
//! 16. The first fragment of a datagram is translated like a segment: it has the numbers, and a sum that
//!     changes by their difference. The others pass as they are. But it tells neither where its segment
//!     ends nor when the stack will have put it together, which may be after later segments were taken. So
//!     it counts as the longest datagram, 65,535 bytes (rules 3 and 4): pings are left to user space until
//!     the stream has gone beyond. By then whatever of the datagram is still to come is old, wherever its
//!     segment ends. A connection of which a first fragment came before it had a flow is not armed
//!     ([`early_fragment`]).
//!
//! Two CPUs may work for one connection at once. Each decision is made under the flow's lock, which is
//! always taken: `bpf_spin_lock` waits, and does not fail. So no segment is lost to contention, and no
//! counter tells of it.
//!
//! Whose timestamp makes others old? Of what is passed on, only what the stack itself says it has taken,
//! by echoing it (TSecr); of what it is not shown, pings answered and ACKs absorbed, whose numbers are
//! exactly the next ones. So a forger can raise it where he could have raised TCP's own, and not else.
//!
//! # Heartbeats inside TLS
//!
//! A PINGREQ inside TLS is one record of known content, and sealing is deterministic: key, record number and
//! content decide every byte. So user space seals ahead, and the program compares and copies: no key is in a
//! map ([`claim`], [`answer_table`], [`splice::Sealed`]); a bit tells user space when to seal more ([`low_tables`]).
//! The rules above hold as they are; rules 17 to 22 come on top (and rule 23, which is not about TLS):
//!
//! 17. A PINGREQ is a payload that equals, in every bit, the record that the table expects for the number
//!     in the receive word. It is answered by the record that the table has for the number in the claim word.
//!     Entries bear epoch and number, and count for no other.
//! 18. The program looks at the claim word first, then reads `tx`, the receive word and the table. `rx` it
//!     reads before. If all other rules hold, under the lock, it takes the number by one compare-exchange of
//!     the whole word as it saw it, counts the ping and moves the receive word on by one. If the word is held,
//!     or has changed since, the ping goes to the stack, and the copy is wiped. There is no way back from the
//!     exchange: it is the last question.
//! 19. User space holds the word while it sends: it claims, erases the answer of the number that it is going
//!     to use, and seals. It releases the word when TCP has the last byte of all that was sealed, and `tx`
//!     counts that: in clear MQTT a `tx` that lags is harmless, here an answer would overtake a record. A
//!     library that seals and holds a record back (rustls its reply to a KeyUpdate) holds back the release.
//! 20. Nothing is written that a program may read and use: entries are filled under a claim, and one that
//!     gives the word back as it found it leaves alone what a program may have read before. After receiving,
//!     user space stores the receive word, then `rx`. That needs no claim, since the bytes have passed and
//!     `rx` does not count them: rule 3 keeps programs away.
//! 21. Rules 6 to 8 resend the bytes that left first. They are kept with the table, under the flow's lock; the
//!     entry may have been filled anew since, for another number or key.
//! 22. A KeyUpdate begins an epoch: the claim word goes on with number 0 of the next one, all answers are
//!     erased. The last epoch is not released. Nor is a claim under which close_notify or another alert was
//!     sealed, and that of a process that died; programs never wait for a claim.
//! 23. Once a ping was answered, the stack's segments echo (TSecr) the newest timestamp of the client that was
//!     taken, which the stack may not have seen. A client that had to send a ping again measures its round trip
//!     by that echo (RFC 6298, section 3; RFC 7323, section 4). By an echo of the stack's, which may be minutes
//!     or hours old, its timer would grow to as much, and the next lost segment be missed for as long.
//!
//! Why two writers never use one number: all changes of one word are in one order. User space's claim and a
//! program's exchange are both in it, so each takes a number that the other has not, and a word that has left
//! a value by sealing never comes back to it. What a program has read before its exchange (a `tx` that
//! counts all that was sealed, an answer that nobody writes to) was true when the word had the value that
//! the exchange found, so it still is. [`claim`] tells which order of memory each access needs for that on
//! x86-64 and arm64.
//!
//! An answer may be sealed ahead for a number that user space then uses for something else. It is erased
//! before, and only one of the two ever leaves the machine; but both have existed.
//!
//! # Who can do harm
//!
//! A sender that lies about its own numbers can break its own stream and no other. One who only
//! guesses addresses and ports can have a connection's pings left to user space: by a fragment that ends
//! within the TCP header before the first answer (rule 11), or by a segment or fragment whose number
//! happens to lie within a window ahead (rules 3 and 16). So can a segment whose number was damaged on its
//! way: TCP drops it, and the programs count it as passed. He changes no stream and answers no ping without
//! the sequence numbers.

pub mod answer_table;
pub mod claim;
pub mod clock;
pub mod counter;
pub mod early_fragment;
pub mod flow;
pub mod heartbeat;
pub mod low_tables;
pub mod mac;
pub mod mutant;
pub mod rate;
pub mod segment;
pub mod shared_word;
pub mod slot;
pub mod splice;
