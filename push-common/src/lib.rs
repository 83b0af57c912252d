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
//! clear MQTT these are 2 and 2 bytes, in WebSocket frames 8 and 4 ([`heartbeat`]).
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
//! A sender that lies about its own numbers can break its own stream and no other. One who only
//! guesses addresses and ports can have a connection's pings left to user space: by a fragment that ends
//! within the TCP header before the first answer (rule 11), or by a segment or fragment whose number
//! happens to lie within a window ahead (rules 3 and 16). He changes no stream and answers no ping
//! without the sequence numbers.

pub mod clock;
pub mod counter;
pub mod early_fragment;
pub mod flow;
pub mod heartbeat;
pub mod mac;
pub mod mutant;
pub mod ping_rate;
pub mod segment;
pub mod slot;
pub mod splice;
