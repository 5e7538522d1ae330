// The addresses by which OpenNebula fetches disks of a bundle that lies anywhere: who may read what, and for how long.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  isTicketUrl,
  makeTicket,
  parseTicketUrl,
  readTicket,
  ticketUrl,
} from '../../lib/datastore/ticket.ts';
import type { Undo } from '../../lib/run/undo.ts';

let folder: string;
let recorded: Undo[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ticket-'));
  recorded = [];
});
afterEach(() => rm(folder, { recursive: true }));

const facts = { bundle: "/backups/it's $HOME.tar.gz", bundleId: 'an id', disks: [0, 3] };
const journal = {
  async record(undo: Undo) {
    recorded.push(undo);
    expect(await readdir(join(folder, 'tickets'))).toEqual([]);
    return { done: () => Promise.resolve() };
  },
};

async function made(): Promise<{ ticket: string; path: string }> {
  return makeTicket(folder, facts, journal);
}

describe('the address with a ticket', () => {
  test('the address with a ticket is read back as it was made, and has no character that a shell knows', async () => {
    const { ticket } = await made();
    const url = ticketUrl({ ticket, diskId: 3, form: 'image' });
    expect(url).toMatch(/^[a-z0-9:/]+$/);
    expect(isTicketUrl(url)).toBe(true);
    expect(parseTicketUrl(url)).toEqual({ ticket, diskId: 3, form: 'image' });
  });

  test.each([
    'onevmdump://ticket/../3/image',
    `onevmdump://ticket/${'0'.repeat(31)}/3/image`,
    `onevmdump://ticket/${'0'.repeat(32)}/3/tpm`,
    `onevmdump://ticket/${'0'.repeat(32)}/3/image\n`,
    `onevmdump://ticket/${'0'.repeat(32)}/-3/image`,
  ])('the address %j is refused', (url) => {
    expect(() => parseTicketUrl(url)).toThrow(/does not name a disk/);
  });
});

describe('a ticket', () => {
  test('a ticket says which bundle it stands for, is private, and its undo is recorded before it is made', async () => {
    const { ticket, path } = await made();
    expect(recorded).toEqual([{ kind: 'remove-file', path }]);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const address = { ticket, diskId: 3, form: 'image' } as const;
    expect(await readTicket(folder, address)).toMatchObject(facts);
  });

  test('a ticket is refused for a disk that is not restored', async () => {
    const { ticket } = await made();
    const address = { ticket, diskId: 1, form: 'image' } as const;
    await expect(readTicket(folder, address)).rejects.toThrow(/is not for disk 1/);
  });

  test('a ticket is refused when its restore is over, or a week later', async () => {
    const { ticket, path } = await made();
    const address = { ticket, diskId: 0, form: 'image' } as const;
    const later = new Date(Date.now() + 7.001 * 24 * 3600 * 1000);
    await expect(readTicket(folder, address, later)).rejects.toThrow(/has expired/);
    await rm(path);
    await expect(readTicket(folder, address)).rejects.toThrow(/no restore is using the address/);
  });

  test('a ticket by a command of another version is refused, as is a file that is not a ticket', async () => {
    const { ticket, path } = await made();
    const address = { ticket, diskId: 0, form: 'image' } as const;
    const content = JSON.parse(await readFile(path, 'utf8')) as object;
    await writeFile(path, JSON.stringify({ ...content, version: '0.0.9' }));
    await expect(readTicket(folder, address)).rejects.toThrow(
      /the restore is by onevmdump 0\.0\.9, and the driver is of /,
    );
    await writeFile(path, '{');
    await expect(readTicket(folder, address)).rejects.toThrow(/is not a ticket: it is not JSON/);
  });
});
