// One case of MQTT.js against a server: `HOST PORT PROTOCOL CASE TRANSPORT`, the protocol being 4
// (3.1.1) or 5, the transport mqtt (TCP), mqtts (TLS), ws (WebSocket) or wss (both). Exits 0 when it holds; an assertion says
// what did not. The case one-suite takes two words more: the only version and suite of TLS to offer, by OpenSSL's names.
// PUSH_USER and PUSH_PASSWORD are user name and password of CONNECT.

'use strict';

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const mqtt = require('mqtt');
const { Inbox, pause, run } = require('./harness.cjs');

const [host, port, protocol, name, transport, tlsVersion, tlsSuite] = process.argv.slice(2);
const v5 = protocol === '5';

/** MQTT.js with its messages turned into a queue. */
class Client extends Inbox {
  static async connect(clientId, options = {}) {
    const { clean = true, ...more } = options;
    const client = new Client();
    client.closed = false;
    client.client = mqtt.connect({
      host,
      port: Number(port),
      protocol: transport,
      path: '/mqtt',
      protocolVersion: Number(protocol),
      clientId,
      clean,
      keepalive: 60,
      reconnectPeriod: 0,
      username: process.env.PUSH_USER,
      password: process.env.PUSH_PASSWORD,
      properties: v5 ? { sessionExpiryInterval: clean ? 0 : 3600 } : undefined,
      ...more,
    });
    client.client.on('message', (topic, payload, packet) => client.messages.push(packet));
    client.client.on('close', () => { client.closed = true; });
    client.client.on('disconnect', (packet) => { client.told = packet.reasonCode; });
    client.connack = await new Promise((resolve, reject) => {
      client.client.once('connect', resolve);
      client.client.once('error', reject);
    });
    return client;
  }

  async subscribe(topic, options) {
    const granted = await this.client.subscribeAsync(topic, options);
    return granted.map((grant) => grant.qos);
  }

  publish(topic, payload, options) {
    return this.client.publishAsync(topic, payload, options);
  }

  leave() {
    return this.client.endAsync();
  }

  /** Closes the socket without a goodbye. */
  async kill() {
    this.client.stream.destroy();
    await this.until('the close', () => this.closed);
  }
}

const cases = {
  async qos() {
    const [subscriber, publisher] = [await Client.connect('subscriber'), await Client.connect('publisher')];
    for (const qos of [0, 1, 2]) {
      const topic = `qos/${qos}`;
      assert.deepEqual(await subscriber.subscribe(topic, { qos }), [qos]);
      const sent = [];
      for (let number = 0; number < 50; number += 1) {
        sent.push(publisher.publish(topic, String(number), { qos }));
      }
      await Promise.all(sent);
      for (let number = 0; number < 50; number += 1) {
        const message = await subscriber.message();
        assert.deepEqual(
          [message.topic, message.payload.toString(), message.qos, message.retain],
          [topic, String(number), qos, false],
        );
      }
    }
    await subscriber.assertNoMessage();
    await subscriber.leave();
    await publisher.leave();
  },

  async large() {
    // Many records of TLS, frames of WebSocket and segments, and a packet that none is aligned to.
    const client = await Client.connect('large');
    await client.subscribe('large', { qos: 1 });
    for (const length of [0, 1, 125, 126, 16383, 16384, 65535, 65536, 1000000]) {
      await client.publish('large', Buffer.alloc(length, 'x'), { qos: 1 });
      assert.equal((await client.message()).payload.length, length);
    }
    await client.leave();
  },

  async retained() {
    const publisher = await Client.connect('publisher');
    await publisher.publish('kept', 'old', { qos: 1, retain: true });
    await publisher.publish('kept', 'new', { qos: 2, retain: true });
    const early = await Client.connect('early');
    await early.subscribe('kept', { qos: 2 });
    const message = await early.message();
    assert.deepEqual([message.payload.toString(), message.qos, message.retain], ['new', 2, true]);
    await publisher.publish('kept', '', { qos: 1, retain: true });
    const cleared = await early.message();
    assert.deepEqual([cleared.payload.length, cleared.retain], [0, false]);
    const late = await Client.connect('late');
    await late.subscribe('kept', { qos: 2 });
    await late.assertNoMessage();
    for (const client of [publisher, early, late]) await client.leave();
  },

  async offline() {
    let sleeper = await Client.connect('sleeper', { clean: false });
    assert.equal(sleeper.connack.sessionPresent, false);
    await sleeper.subscribe('mail', { qos: 2 });
    await sleeper.leave();
    const publisher = await Client.connect('publisher');
    for (let number = 0; number < 40; number += 1) {
      await publisher.publish('mail', String(number), { qos: 1 + (number % 2) });
    }
    sleeper = await Client.connect('sleeper', { clean: false });
    assert.equal(sleeper.connack.sessionPresent, true);
    const received = [];
    while (received.length < 40) received.push(await sleeper.message());
    // Order is promised within a QoS only: MQTT.js hands out a QoS 2 message when it is released.
    for (const qos of [1, 2]) {
      const numbers = received.filter((m) => m.qos === qos).map((m) => Number(m.payload));
      assert.deepEqual(numbers, Array.from({ length: 20 }, (_, index) => 2 * index + qos - 1));
    }
    await sleeper.assertNoMessage();
    await sleeper.leave();
    await publisher.leave();
    await (await Client.connect('sleeper')).leave();
  },

  async will() {
    const watcher = await Client.connect('watcher');
    await watcher.subscribe('wills/+', { qos: 2 });
    const will = (topic) => ({ will: { topic, payload: Buffer.from('gone'), qos: 1, retain: false } });
    await (await Client.connect('leaves', will('wills/leaves'))).leave();
    await (await Client.connect('dies', will('wills/dies'))).kill();
    const message = await watcher.message();
    assert.deepEqual([message.topic, message.payload.toString()], ['wills/dies', 'gone']);
    await watcher.assertNoMessage();
    await watcher.leave();
  },

  async 'take-over'() {
    const first = await Client.connect('same', { clean: false });
    const second = await Client.connect('same', { clean: false });
    assert.equal(second.connack.sessionPresent, true);
    await first.until('the end of the first', () => first.closed);
    if (v5) assert.equal(first.told, 0x8e);
    await second.leave();
    await (await Client.connect('same')).leave();
  },

  async properties() {
    const [subscriber, publisher] = [await Client.connect('subscriber'), await Client.connect('publisher')];
    await subscriber.subscribe('p', { qos: 2 });
    const sent = {
      payloadFormatIndicator: true,
      messageExpiryInterval: 100,
      contentType: 'text/plain',
      responseTopic: 'answers/7',
      correlationData: Buffer.from([0, 255, 7]),
      userProperties: { b: ['1', '3'], a: '2' },
    };
    for (const qos of [0, 1, 2]) {
      await publisher.publish('p', 'content', { qos, properties: sent });
      const { properties } = await subscriber.message();
      assert(properties.messageExpiryInterval >= 98 && properties.messageExpiryInterval <= 100);
      const { messageExpiryInterval, userProperties, ...others } = properties;
      const { messageExpiryInterval: _, userProperties: pairs, ...expected } = sent;
      assert.deepEqual({ ...others }, expected);
      assert.deepEqual({ ...userProperties }, pairs);
    }
    await subscriber.leave();
    await publisher.leave();
  },

  async ping() {
    const client = await Client.connect('pinger', { keepalive: 1 });
    // Pings every second keep it; without them it lived for 1.5 seconds.
    await pause(4000);
    assert.equal(client.closed, false);
    await client.subscribe('alive', { qos: 1 });
    await client.publish('alive', 'yes', { qos: 1 });
    assert.equal((await client.message()).payload.toString(), 'yes');
    await client.leave();
  },

  async 'one-suite'() {
    const tls = { minVersion: tlsVersion, maxVersion: tlsVersion, ciphers: tlsSuite };
    const client = await Client.connect('one-suite', { keepalive: 600, ...tls });
    assert.equal(client.client.stream.getCipher().name, tlsSuite);
    let [pings, answers] = [0, 0];
    client.client.on('packetreceive', (packet) => { answers += packet.cmd === 'pingresp' ? 1 : 0; });
    await client.subscribe('echo', { qos: 1 });
    for (let round = 0; round < 3; round += 1) {
      for (let number = 0; number < 8; number += 1) {
        // Longer than an ACK may be delayed.
        await pause(120);
        client.client.sendPing();
        pings += 1;
        await client.until('a PINGRESP', () => answers === pings);
      }
      for (const length of [1, 200, 1400, 12000]) {
        const payload = randomBytes(length);
        await client.publish('echo', payload, { qos: 1 });
        assert.deepEqual((await client.message()).payload, payload);
      }
    }
    assert.equal(answers, pings);
    console.log(`pings ${pings}`);
    // Leaves when the test says so.
    await new Promise((resolve) => process.stdin.on('end', resolve).resume());
    await client.leave();
  },
};

run(cases, name);
