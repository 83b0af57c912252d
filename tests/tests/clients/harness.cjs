// What the cases of every JavaScript client share: waiting for what must come, listening for what
// must not, and the end of the process.

'use strict';

const assert = require('node:assert/strict');

// How long to wait for what must come, and to listen for what must not, in milliseconds.
const PATIENCE = 20000;
const SILENCE = 300;

const pause = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

/** The messages that a client gets, as a queue; the client's own class fills it. */
class Inbox {
  messages = [];

  async until(what, holds) {
    const begun = Date.now();
    while (!holds()) {
      assert(Date.now() - begun < PATIENCE, `waited in vain for ${what}`);
      await pause(5);
    }
  }

  async message() {
    await this.until('a message', () => this.messages.length > 0);
    return this.messages.shift();
  }

  async assertNoMessage() {
    await pause(SILENCE);
    assert.deepEqual(this.messages, []);
  }
}

/** Runs one of `cases` and exits: 0 when it holds, 1 with the assertion that did not. */
function run(cases, name) {
  cases[name]().then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}

module.exports = { Inbox, pause, run };
