// Hosts whose sshd allows only a few sessions on one connection, against a real one.
import { afterEach, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { SessionSlots } from '../../lib/run/ssh-slots.ts';
import { connectionsTo, processesWith, useSshd, type Connected } from '../support/ssh-support.ts';
import { startSshd, type TestSshd } from '../support/sshd.ts';

const sh = (script: string, ...args: string[]) => ({
  program: 'sh',
  args: ['-c', script, 'sh', ...args],
});

describe.each([1, 2, 3, 10])('a host with MaxSessions %d', (most) => {
  let sshd: TestSshd;
  let host: Connected;
  let restorePath: () => void;

  async function connected(): Promise<void> {
    sshd = await startSshd({ sshd: `MaxSessions ${most}` });
    restorePath = useSshd(sshd);
    host = connectionsTo(sshd.host);
  }

  afterEach(async () => {
    await host.close();
    restorePath();
    await sshd.stop();
  });

  if (most === 1) {
    test(`the administrator of a host with MaxSessions ${most} is told what it has to allow`, async () => {
      await connected();
      await expect(host.runner.run(sh('true'))).rejects.toThrow(/MaxSessions .* must be 2 or more/);
    });
    return;
  }

  test(`a host with MaxSessions ${most} runs twelve commands that are begun at once, each with its own input and output`, async () => {
    await connected();
    const numbers = Array.from({ length: 12 }, (_, at) => at);
    const outputs = await Promise.all(
      numbers.map((at) =>
        host.runner.run(sh('sleep 0.2; cat; echo "$1"', String(at)), { input: `in ${at}, ` }),
      ),
    );
    expect(outputs.map(({ stdout }) => stdout.toString())).toEqual(
      numbers.map((at) => `in ${at}, ${at}\n`),
    );
  });

  test(`a host with MaxSessions ${most} runs commands beside six programs that go on running, and ends those`, async () => {
    await connected();
    const services = [];
    for (let at = 0; at < 6; at++)
      services.push(await host.runner.start(sh(`exec sleep 99${at}99`)));
    await Promise.all(Array.from({ length: 12 }, () => host.runner.run(sh('true'))));
    expect(await processesWith('99599')).not.toEqual([]);
    await Promise.all(services.map((service) => service.stop()));
    for (let at = 0; at < 6; at++) expect(await processesWith(`99${at}99`)).toEqual([]);
    expect(host.warnings).toEqual([]);
  });

  test(`a host with MaxSessions ${most} ends a command that takes too long while all others wait for it`, async () => {
    await connected();
    const slow = [1, 2, 3, 4].map(() =>
      host.runner.run(sh('exec sleep 98789'), { timeoutMs: 1000 }),
    );
    const next = host.runner.run(sh('echo next'));
    await Promise.all(slow.map((one) => expect(one).rejects.toThrow('gave no answer within 1 s')));
    expect((await next).stdout.toString()).toBe('next\n');
  });
});

describe('the sessions of one host', () => {
  test('the sessions of one host are never more than four commands at the same time', async () => {
    const slots = new SessionSlots();
    let now = 0;
    let peak = 0;
    await Promise.all(
      Array.from({ length: 12 }, async () => {
        const slot = await slots.take('command');
        expect(slot.lane).toBe(0);
        peak = Math.max(peak, ++now);
        await sleep(5);
        now -= 1;
        slot.release();
      }),
    );
    expect(peak).toBe(4);
  });

  test('the sessions of one host get a second connection when the first is full of what goes on running', async () => {
    const slots = new SessionSlots();
    const lanes = [];
    for (let count = 0; count < 10; count++) lanes.push((await slots.take('other')).lane);
    expect(lanes).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    expect((await slots.take('command')).lane).toBe(1);
  });

  test('the sessions of one host are as many as the host takes, once it has refused one', async () => {
    const slots = new SessionSlots();
    const first = await slots.take('other');
    const second = await slots.take('other');
    expect(await second.refused()).toBe(true);
    expect((await slots.take('other')).lane).toBe(1);
    first.release();
    expect((await slots.take('other')).lane).toBe(0);
  });
});
