"""One case of paho against a server: `--case NAME`. Exits 0 when it holds; an assertion says what
did not."""

import argparse
import queue
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

# How long to wait for what must come, and to listen for what must not, in seconds.
PATIENCE = 20
SILENCE = 0.3

V31 = mqtt.MQTTv31
V5 = mqtt.MQTTv5


class Client:
    """paho with its callbacks turned into queues."""

    def __init__(
        self, options, client_id, clean=True, keep_alive=60, expiry_secs=3600, will=None, **more
    ):
        self.v5 = options.protocol == V5
        arguments = {} if self.v5 else {"clean_session": clean}
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=options.protocol,
            reconnect_on_failure=False,
            transport=options.transport,
            **arguments,
        )
        if options.ca:
            self.paho.tls_set(options.ca)
        if options.user is not None or options.password is not None:
            self.paho.username_pw_set(options.user, options.password)
        if options.transport == "websockets":
            self.paho.ws_set_options(path="/mqtt")
        self.messages, self.connects, self.disconnects = queue.Queue(), queue.Queue(), queue.Queue()
        self.grants, self.published = queue.Queue(), queue.Queue()
        self.paho.on_message = lambda c, u, message: self.messages.put(message)
        self.paho.on_connect = lambda c, u, flags, reason, p: self.connects.put((flags, reason, p))
        self.paho.on_disconnect = lambda c, u, flags, reason, p: self.disconnects.put(reason)
        self.paho.on_subscribe = lambda c, u, mid, reasons, p: self.grants.put(reasons)
        self.paho.on_unsubscribe = lambda c, u, mid, reasons, p: self.grants.put(reasons)
        self.paho.on_publish = lambda c, u, mid, reason, p: self.published.put(reason)
        arguments = {}
        if self.v5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 0 if clean else expiry_secs
            for name, value in more.items():
                setattr(properties, name, value)
            arguments = {"clean_start": clean, "properties": properties}
        if will is not None:
            self.paho.will_set(**will)
        self.paho.connect(options.host, options.port, keep_alive, **arguments)
        self.paho.loop_start()
        self.flags, self.reason, self.properties = self.connects.get(timeout=PATIENCE)

    def subscribe(self, topic, qos):
        self.paho.subscribe(topic, qos)
        return [grant.value for grant in self.grants.get(timeout=PATIENCE)]

    def publish(self, topic, payload, qos, **arguments):
        """Publishes and waits until it is acknowledged; the reason code."""
        self.paho.publish(topic, payload, qos, **arguments).wait_for_publish(PATIENCE)
        return self.published.get(timeout=PATIENCE)

    def message(self):
        return self.messages.get(timeout=PATIENCE)

    def assert_no_message(self):
        time.sleep(SILENCE)
        assert self.messages.empty(), f"a message too much: {self.messages.get().payload}"

    def kill(self):
        """Closes the socket without a goodbye."""
        self.paho.loop_stop()
        self.paho.socket().close()

    def leave(self):
        self.paho.disconnect()
        self.disconnects.get(timeout=PATIENCE)
        self.paho.loop_stop()


def refused(options):
    """No user of the server's: the reason is the same whatever is wrong."""
    client = Client(options, "refused")
    assert client.reason.is_failure, client.reason
    assert client.reason == "Not authorized", client.reason


def qos(options):
    subscriber, publisher = Client(options, "subscriber"), Client(options, "publisher")
    for level in (0, 1, 2):
        topic = f"qos/{level}"
        assert subscriber.subscribe(topic, level) == [level]
        for number in range(50):
            publisher.publish(topic, f"{level} {number}", level)
        for number in range(50):
            message = subscriber.message()
            assert (message.topic, message.qos, message.retain) == (topic, level, False)
            assert message.payload.decode() == f"{level} {number}"
    subscriber.assert_no_message()
    subscriber.leave()
    publisher.leave()


def large(options):
    # Many records of TLS, frames of WebSocket and segments, and a packet that none is aligned to.
    client = Client(options, "large")
    client.subscribe("large", 1)
    for length in (0, 1, 125, 126, 16383, 16384, 65535, 65536, 1000000):
        client.publish("large", "x" * length, 1)
        assert len(client.message().payload) == length
    client.leave()


def offline(options):
    sleeper = Client(options, "sleeper", clean=False)
    assert not sleeper.flags.session_present
    sleeper.subscribe("mail/#", 2)
    sleeper.leave()
    publisher = Client(options, "publisher")
    for number in range(60):
        publisher.publish(f"mail/{number % 3}", str(number), 1 + number % 2)
    sleeper = Client(options, "sleeper", clean=False)
    # MQTT 3.1 says nothing of it.
    assert sleeper.flags.session_present == (options.protocol != V31)
    received = [sleeper.message() for _ in range(60)]
    # Order is promised within a QoS only: paho hands out a QoS 2 message when it is released.
    for level in (1, 2):
        payloads = [int(message.payload) for message in received if message.qos == level]
        assert payloads == list(range(level - 1, 60, 2)), payloads
    sleeper.assert_no_message()
    sleeper.leave()
    # A clean start ends the session.
    sleeper = Client(options, "sleeper", clean=True)
    assert not sleeper.flags.session_present
    publisher.publish("mail/1", "lost", 1)
    sleeper.assert_no_message()
    sleeper.leave()
    publisher.leave()


def take_over(options):
    first = Client(options, "same", clean=False)
    first.subscribe("here", 1)
    second = Client(options, "same", clean=False)
    assert second.flags.session_present
    reason = first.disconnects.get(timeout=PATIENCE)
    if options.protocol == V5:
        assert reason == "Session taken over", reason
    publisher = Client(options, "publisher")
    publisher.publish("here", "to the second", 1)
    assert second.message().payload == b"to the second"
    assert first.messages.empty()
    second.paho.unsubscribe("here")
    second.grants.get(timeout=PATIENCE)
    second.leave()
    publisher.leave()
    Client(options, "same", clean=True).leave()


def properties(options):
    subscriber, publisher = Client(options, "subscriber"), Client(options, "publisher")
    subscriber.subscribe("p", 2)
    sent = Properties(PacketTypes.PUBLISH)
    sent.PayloadFormatIndicator = 1
    sent.ContentType = "text/plain; charset=utf-8"
    sent.ResponseTopic = "answers/7"
    sent.CorrelationData = bytes(range(256))
    sent.UserProperty = [("b", "1"), ("a", "2"), ("b", "3"), ("", "")]
    sent.MessageExpiryInterval = 100
    for level in (0, 1, 2):
        publisher.publish("p", "content", level, properties=sent)
        received = subscriber.message().properties
        assert received.PayloadFormatIndicator == 1
        assert received.ContentType == sent.ContentType
        assert received.ResponseTopic == sent.ResponseTopic
        assert received.CorrelationData == sent.CorrelationData
        assert received.UserProperty == sent.UserProperty, received.UserProperty
        assert 98 <= received.MessageExpiryInterval <= 100
    # And through a retained message.
    publisher.publish("kept", "content", 1, retain=True, properties=sent)
    subscriber.subscribe("kept", 1)
    received = subscriber.message()
    assert received.retain
    assert received.properties.UserProperty == sent.UserProperty
    subscriber.leave()
    publisher.leave()


def aliases(options):
    # paho leaves it to its user what an alias stands for.
    subscriber = Client(options, "subscriber", TopicAliasMaximum=2)
    publisher = Client(options, "publisher")
    assert publisher.properties.TopicAliasMaximum >= 2
    subscriber.subscribe("aliases/#", 2)
    known = {}
    by_alias = 0
    for number in range(60):
        alias = 1 + number % 2
        sent = Properties(PacketTypes.PUBLISH)
        sent.TopicAlias = alias
        topic = f"aliases/of/a/client/{alias}"
        publisher.publish(topic if number < 2 else "", str(number), number % 3, properties=sent)
        message = subscriber.message()
        assert message.payload.decode() == str(number)
        theirs = getattr(message.properties, "TopicAlias", None)
        if message.topic:
            known[theirs] = message.topic
        else:
            by_alias += 1
        assert known[theirs] == topic, (number, theirs, known)
    assert by_alias == 58, by_alias
    # Beyond the maximum the connection ends: "Topic alias invalid".
    sent = Properties(PacketTypes.PUBLISH)
    sent.TopicAlias = publisher.properties.TopicAliasMaximum + 1
    publisher.paho.publish("aliases", "x", 0, properties=sent)
    assert publisher.disconnects.get(timeout=PATIENCE).value == 0x94
    subscriber.leave()


def reasons(options):
    client = Client(options, "reasons")
    assert client.reason == "Success"
    assert client.subscribe("a", 0) == [0]
    assert client.subscribe([("b", 1), ("c/#", 2)], 0) == [1, 2] if not client.v5 else True
    if client.v5:
        both = [("b", SubscribeOptions(qos=1)), ("c/#", SubscribeOptions(qos=2))]
        client.paho.subscribe(both)
        assert [grant.value for grant in client.grants.get(timeout=PATIENCE)] == [1, 2]
        # "No matching subscribers"
        assert client.publish("nobody/listens", "x", 1).value == 0x10
        assert client.publish("nobody/listens", "x", 2).value in (0x00, 0x10)
        assert client.publish("b", "x", 1).value == 0
        client.paho.unsubscribe(["b", "never/subscribed"])
        unsubscribed = client.grants.get(timeout=PATIENCE)
        # "No subscription existed"
        assert [reason.value for reason in unsubscribed] == [0x00, 0x11]
    client.leave()


def assigned_id(options):
    clients = [Client(options, "") for _ in range(2)]
    if options.protocol == V5:
        ids = {client.properties.AssignedClientIdentifier for client in clients}
        assert len(ids) == 2 and "" not in ids, ids
    for client in clients:
        client.subscribe("all", 1)
    clients[0].publish("all", "x", 1)
    for client in clients:
        assert client.message().payload == b"x"
        client.leave()


def ping(options):
    client = Client(options, "pinger", keep_alive=1)
    # Pings every second keep it; without them it lived for 1.5 seconds.
    time.sleep(4)
    assert client.disconnects.empty(), client.disconnects.get()
    client.subscribe("alive", 1)
    client.publish("alive", "yes", 1)
    assert client.message().payload == b"yes"
    client.leave()


def server_keep_alive(options):
    client = Client(options, "asks-for-more", keep_alive=100)
    assert client.properties.ServerKeepAlive == 30, client.properties
    client.leave()
    client = Client(options, "asks-for-less", keep_alive=20)
    assert getattr(client.properties, "ServerKeepAlive", 20) == 20, client.properties
    client.leave()


def retained(options):
    publisher = Client(options, "publisher")
    for level in (0, 1, 2):
        publisher.publish(f"kept/{level}", "old", level, retain=True)
        publisher.publish(f"kept/{level}", "new", level, retain=True)
    early = Client(options, "early")
    early.subscribe("kept/+", 2)
    received = sorted((early.message() for _ in range(3)), key=lambda message: message.topic)
    for level, message in enumerate(received):
        assert (message.payload, message.qos, message.retain) == (b"new", level, True)
    for level in (0, 1, 2):
        publisher.publish(f"kept/{level}", None, level, retain=True)
        message = early.message()
        assert (message.payload, message.retain) == (b"", False), "an established subscription"
    late = Client(options, "late")
    late.subscribe("kept/+", 2)
    late.assert_no_message()
    for client in (publisher, early, late):
        client.leave()


def will(options):
    watcher = Client(options, "watcher")
    watcher.subscribe("wills/+", 2)
    arguments = {"topic": "wills/dies", "payload": "gone", "qos": 1}
    if watcher.v5:
        arguments["properties"] = Properties(PacketTypes.WILLMESSAGE)
        arguments["properties"].ContentType = "text/plain"
        arguments["properties"].UserProperty = [("b", "1"), ("a", "2")]
    Client(options, "dies", will=arguments).kill()
    message = watcher.message()
    assert (message.topic, message.payload, message.qos) == ("wills/dies", b"gone", 1)
    if watcher.v5:
        assert message.properties.ContentType == "text/plain"
        assert message.properties.UserProperty == [("b", "1"), ("a", "2")]
    Client(options, "leaves", will={"topic": "wills/leaves", "payload": "gone"}).leave()
    watcher.assert_no_message()
    if watcher.v5:
        # "Disconnect with Will Message"
        asks = Client(options, "asks", will={"topic": "wills/asks", "payload": "gone"})
        asks.paho.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=4))
        assert watcher.message().topic == "wills/asks"
        asks.paho.loop_stop()
    watcher.leave()


def subscribe_options(options):
    talker, listener = Client(options, "talker"), Client(options, "listener")
    for client in (talker, listener):
        client.paho.subscribe("room", options=SubscribeOptions(qos=1, noLocal=True))
        assert client.grants.get(timeout=PATIENCE)[0].value == 1
    talker.publish("room", "hello", 1)
    assert listener.message().payload == b"hello"
    talker.assert_no_message()

    def brings(how, count):
        listener.paho.subscribe("state", options=how)
        assert listener.grants.get(timeout=PATIENCE)[0].value == 1
        for _ in range(count):
            assert listener.message().retain
        listener.assert_no_message()

    talker.publish("state", "kept", 1, retain=True)
    brings(SubscribeOptions(qos=1, retainHandling=1), 1)
    brings(SubscribeOptions(qos=1, retainHandling=1), 0)
    brings(SubscribeOptions(qos=1, retainHandling=2), 0)
    brings(SubscribeOptions(qos=1, retainHandling=0), 1)
    brings(SubscribeOptions(qos=1, retainHandling=2, retainAsPublished=True), 0)
    talker.publish("state", "kept", 1, retain=True)
    assert listener.message().retain
    talker.publish("state", "passing", 1)
    assert not listener.message().retain
    talker.leave()
    listener.leave()


def expiry(options):
    for expiry_secs, stays in ((1, False), (60, True)):
        sleeper = Client(options, f"sleeper-{expiry_secs}", clean=False, expiry_secs=expiry_secs)
        sleeper.subscribe("mail", 1)
        sleeper.leave()
    publisher = Client(options, "publisher")
    for secs, payload in ((1, "expires"), (60, "remains")):
        sent = Properties(PacketTypes.PUBLISH)
        sent.MessageExpiryInterval = secs
        publisher.publish("mail", payload, 1, properties=sent)
    time.sleep(2.5)
    for expiry_secs, stays in ((1, False), (60, True)):
        sleeper = Client(options, f"sleeper-{expiry_secs}", clean=False)
        assert sleeper.flags.session_present == stays
        if stays:
            message = sleeper.message()
            assert message.payload == b"remains"
            assert message.properties.MessageExpiryInterval <= 58
        sleeper.assert_no_message()
        sleeper.leave()
    publisher.leave()


def limits(options):
    """Receive Maximum, and Maximum Packet Size, of the client."""
    slow = Client(options, "slow", ReceiveMaximum=1, MaximumPacketSize=100)
    slow.subscribe("flow", 2)
    publisher = Client(options, "publisher")
    for number in range(30):
        publisher.publish("flow", str(number), 1 + number % 2)
    publisher.publish("flow", bytes(100), 1)
    received = [int(slow.message().payload) for _ in range(30)]
    assert received == list(range(30)), received
    slow.assert_no_message()
    slow.leave()
    publisher.leave()


def identifiers(options):
    subscriber, publisher = Client(options, "subscriber"), Client(options, "publisher")
    for identifier, topic in ((1, "a/b"), (200, "a/+"), (268435455, "#")):
        asked = Properties(PacketTypes.SUBSCRIBE)
        asked.SubscriptionIdentifier = identifier
        subscriber.paho.subscribe(topic, options=SubscribeOptions(qos=1), properties=asked)
        assert [grant.value for grant in subscriber.grants.get(timeout=PATIENCE)] == [1]
    publisher.publish("a/b", "x", 1)
    assert sorted(subscriber.message().properties.SubscriptionIdentifier) == [1, 200, 268435455]
    publisher.publish("c", "x", 1)
    assert subscriber.message().properties.SubscriptionIdentifier == [268435455]
    subscriber.assert_no_message()
    subscriber.leave()
    publisher.leave()


def shared(options):
    members = [Client(options, f"member-{number}") for number in range(3)]
    publisher = Client(options, "publisher")
    for member in members:
        assert member.subscribe("$share/workers/jobs/+", 2) == [2]
    for number in range(30):
        publisher.publish(f"jobs/{number}", str(number), number % 3)
    taken = [[int(member.message().payload) for _ in range(10)] for member in members]
    assert sorted(sum(taken, [])) == list(range(30)), taken
    members[0].assert_no_message()
    for client in members + [publisher]:
        client.leave()


CASES = {
    "refused": refused,
    "retained": retained,
    "will": will,
    "subscribe-options": subscribe_options,
    "expiry": expiry,
    "limits": limits,
    "qos": qos,
    "large": large,
    "offline": offline,
    "take-over": take_over,
    "properties": properties,
    "aliases": aliases,
    "reasons": reasons,
    "assigned-id": assigned_id,
    "ping": ping,
    "server-keep-alive": server_keep_alive,
    "identifiers": identifiers,
    "shared": shared,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--protocol", type=int, choices=(3, 4, 5), required=True)
    parser.add_argument("--case", choices=sorted(CASES), required=True)
    parser.add_argument("--transport", choices=("tcp", "websockets", "unix"), default="tcp")
    parser.add_argument("--ca", help="speak TLS, and trust the certificates in this file")
    parser.add_argument("--user", help="the user name of CONNECT")
    parser.add_argument("--password", help="the password of CONNECT")
    options = parser.parse_args()
    CASES[options.case](options)
    print("ok")


if __name__ == "__main__":
    sys.exit(main())
