"""One case of paho against a server: `--case NAME`. Exits 0 when it holds; an assertion says what
did not."""

import argparse
import queue
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

# How long to wait for what must come, and to listen for what must not, in seconds.
PATIENCE = 20
SILENCE = 0.3

V5 = mqtt.MQTTv5


class Client:
    """paho with its callbacks turned into queues."""

    def __init__(
        self, options, client_id, clean=True, keep_alive=60, expiry_secs=3600, aliases=0
    ):
        self.v5 = options.protocol == V5
        arguments = {} if self.v5 else {"clean_session": clean}
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=options.protocol,
            reconnect_on_failure=False,
            **arguments,
        )
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
            if aliases:
                properties.TopicAliasMaximum = aliases
            arguments = {"clean_start": clean, "properties": properties}
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

    def leave(self):
        self.paho.disconnect()
        self.disconnects.get(timeout=PATIENCE)
        self.paho.loop_stop()


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


def offline(options):
    sleeper = Client(options, "sleeper", clean=False)
    assert not sleeper.flags.session_present
    sleeper.subscribe("mail/#", 2)
    sleeper.leave()
    publisher = Client(options, "publisher")
    for number in range(60):
        publisher.publish(f"mail/{number % 3}", str(number), 1 + number % 2)
    sleeper = Client(options, "sleeper", clean=False)
    assert sleeper.flags.session_present
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
    subscriber = Client(options, "subscriber", aliases=2)
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


CASES = {
    "qos": qos,
    "offline": offline,
    "take-over": take_over,
    "properties": properties,
    "aliases": aliases,
    "reasons": reasons,
    "assigned-id": assigned_id,
    "ping": ping,
    "server-keep-alive": server_keep_alive,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--protocol", type=int, choices=(4, 5), required=True)
    parser.add_argument("--case", choices=sorted(CASES), required=True)
    options = parser.parse_args()
    CASES[options.case](options)
    print("ok")


if __name__ == "__main__":
    sys.exit(main())
