// One case of paho for JavaScript against a server over WebSocket, the only transport that it has,
// and in 3.1.1, the only version: `HOST PORT CASE TRANSPORT`, the transport ws or wss. Exits 0 when it holds; an assertion says what
// did not.

'use strict';

const assert = require('node:assert/strict');
// A browser's WebSocket, which paho looks for.
global.WebSocket = require('ws');
const Paho = require('paho-mqtt');
const { Inbox, pause, run } = require('./harness.cjs');

const [host, port, name, transport] = process.argv.slice(2);

/** paho with its callbacks turned into queues. */
class Client extends Inbox {
  static async connect(clientId, options = {}) {
    const client = new Client();
    client.delivered = 0;
    client.lost = undefined;
    client.paho = new Paho.Client(`${transport}://${host}:${port}/mqtt`, clientId);
    client.paho.onMessageArrived = (message) => client.messages.push(message);
    client.paho.onMessageDelivered = () => { client.delivered += 1; };
    client.paho.onConnectionLost = (response) => { client.lost = response.errorCode; };
    await new Promise((resolve, reject) => {
      client.paho.connect({ onSuccess: resolve, onFailure: reject, mqttVersion: 4, ...options });
    });
    return client;
  }

  async subscribe(filter, qos) {
    const granted = await new Promise((resolve, reject) => {
      this.paho.subscribe(filter, { qos, onSuccess: resolve, onFailure: reject });
    });
    return granted.grantedQos[0] ?? granted.grantedQos;
  }

  /** Publishes and waits until it is acknowledged. */
  async publish(topic, payload, qos, retained = false) {
    const before = this.delivered;
    this.paho.send(topic, payload, qos, retained);
    await this.until('the acknowledgement', () => this.delivered > before);
  }

  async leave() {
    this.paho.disconnect();
    await this.until('the end', () => this.lost !== undefined);
    assert.equal(this.lost, 0);
  }
}

const will = (topic) => {
  const message = new Paho.Message('gone');
  message.destinationName = topic;
  message.qos = 1;
  return { willMessage: message };
};

const cases = {
  async qos() {
    const [subscriber, publisher] = [await Client.connect('subscriber'), await Client.connect('publisher')];
    for (const qos of [0, 1, 2]) {
      const topic = `qos/${qos}`;
      assert.equal(await subscriber.subscribe(topic, qos), qos);
      for (let number = 0; number < 50; number += 1) {
        await publisher.publish(topic, `${qos} ${number}`, qos);
      }
      for (let number = 0; number < 50; number += 1) {
        const message = await subscriber.message();
        assert.deepEqual(
          [message.destinationName, message.payloadString, message.qos, message.retained],
          [topic, `${qos} ${number}`, qos, false],
        );
      }
    }
    await subscriber.assertNoMessage();
    await subscriber.leave();
    await publisher.leave();
  },

  async large() {
    // Many frames of WebSocket and of TCP, and a packet that none of them is aligned to.
    const client = await Client.connect('large');
    await client.subscribe('large', 1);
    for (const length of [0, 1, 125, 126, 65535, 65536, 1000000]) {
      await client.publish('large', 'x'.repeat(length), 1);
      assert.equal((await client.message()).payloadBytes.length, length);
    }
    await client.leave();
  },

  async retained() {
    const publisher = await Client.connect('publisher');
    await publisher.publish('kept', 'old', 1, true);
    await publisher.publish('kept', 'new', 1, true);
    const early = await Client.connect('early');
    await early.subscribe('kept', 1);
    const message = await early.message();
    assert.deepEqual([message.payloadString, message.retained], ['new', true]);
    await publisher.publish('kept', '', 1, true);
    assert.equal((await early.message()).payloadBytes.length, 0);
    const late = await Client.connect('late');
    await late.subscribe('kept', 1);
    await late.assertNoMessage();
    for (const client of [publisher, early, late]) await client.leave();
  },

  async offline() {
    let sleeper = await Client.connect('sleeper', { cleanSession: false });
    await sleeper.subscribe('mail', 1);
    await sleeper.leave();
    const publisher = await Client.connect('publisher');
    for (let number = 0; number < 20; number += 1) await publisher.publish('mail', String(number), 1);
    sleeper = await Client.connect('sleeper', { cleanSession: false });
    for (let number = 0; number < 20; number += 1) {
      assert.equal((await sleeper.message()).payloadString, String(number));
    }
    await sleeper.assertNoMessage();
    await sleeper.leave();
    await publisher.leave();
  },

  async will() {
    const watcher = await Client.connect('watcher');
    await watcher.subscribe('wills/+', 1);
    await (await Client.connect('leaves', will('wills/leaves'))).leave();
    // Another of the same id takes over: the first had no chance to say goodbye.
    const first = await Client.connect('same', will('wills/same'));
    const second = await Client.connect('same');
    const message = await watcher.message();
    assert.deepEqual([message.destinationName, message.payloadString], ['wills/same', 'gone']);
    await first.until('the end of the first', () => first.lost !== undefined);
    await watcher.assertNoMessage();
    await second.leave();
    await watcher.leave();
  },

  async ping() {
    const client = await Client.connect('pinger', { keepAliveInterval: 1 });
    // Pings every second keep it; without them it lived for 1.5 seconds.
    await pause(4000);
    assert.equal(client.lost, undefined);
    await client.subscribe('alive', 1);
    await client.publish('alive', 'yes', 1);
    assert.equal((await client.message()).payloadString, 'yes');
    await client.leave();
  },
};

run(cases, name);
