// Addresses of disks in a bundle that lies anywhere, for one restore by the command:
//   onevmdump://ticket/<ticket>/<disk id>/<form>
// The ticket is a random number. A file of that name in the state folder says which bundle it stands for, and is removed when
// OpenNebula has the disks. So an address shows nothing of the bundle's path, is worth nothing afterwards, and needs no
// secret that the command and oned would have to share: a user who restores as alice has no other.
import { randomBytes } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FailedError, hasCode, UsageError } from '../report/errors.ts';
import { toolVersion } from '../report/version.ts';
import type { Journal, JournalEntry } from '../run/journal.ts';
import { list, object } from '../run/json-object.ts';
import { count, parseShape, text, type Infer } from '../run/json-shape.ts';
import { giveToOwner, makeStateFolder } from '../run/state-folder.ts';
import { removeFile } from '../run/undo-kinds.ts';
import type { DiskForm } from './disk-url.ts';

const ticketShape = object({
  /** Command and driver have to be of the same version. */
  version: text,
  /** A path, or [user@]host:path. */
  bundle: text,
  /** The bundle's id; a bundle that has another one by now is refused. */
  bundleId: text,
  /** The disks that may be read. */
  disks: list(count()),
  /** Seconds since 1970. A run that was killed leaves its ticket until `cleanup` removes it. */
  expires: count(),
});

export type Ticket = Infer<typeof ticketShape>;

export interface TicketAddress {
  readonly ticket: string;
  readonly diskId: number;
  readonly form: Exclude<DiskForm, 'tpm'>;
}

const validFor = 7 * 24 * 3600;
const url = /^onevmdump:\/\/ticket\/([0-9a-f]{32})\/(\d{1,9})\/(disk|image)$/;

/** Whether it is an address with a ticket, valid or not. */
export function isTicketUrl(address: string): boolean {
  return address.startsWith('onevmdump://ticket/');
}

export function ticketUrl({ ticket, diskId, form }: TicketAddress): string {
  return `onevmdump://ticket/${ticket}/${diskId}/${form}`;
}

/** @throws UsageError when it is not such an address */
export function parseTicketUrl(address: string): TicketAddress {
  const [, ticket, disk, form] = url.exec(address) ?? [];
  if (ticket === undefined || (form !== 'disk' && form !== 'image')) {
    throw new UsageError(`${JSON.stringify(address.slice(0, 200))} does not name a disk`);
  }
  return { ticket, diskId: Number(disk), form };
}

/**
 * Writes a ticket that the owner of the state folder, who is oned's user, can read.
 * @returns its name, and the journal entry that removes it
 * @throws Node's system error
 */
export async function makeTicket(
  stateFolder: string,
  facts: Pick<Ticket, 'bundle' | 'bundleId' | 'disks'>,
  journal: Pick<Journal, 'record'>,
): Promise<{ readonly ticket: string; readonly path: string; readonly entry: JournalEntry }> {
  const ticket = randomBytes(16).toString('hex');
  const path = join(await makeStateFolder(stateFolder, 'tickets'), ticket);
  const content: Ticket = {
    version: toolVersion,
    ...facts,
    expires: Math.floor(Date.now() / 1000) + validFor,
  };
  const entry = await journal.record(removeFile.undo({ path }));
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(content)}\n`);
  } finally {
    await file.close();
  }
  await giveToOwner(path, stateFolder);
  return { ticket, path, entry };
}

/**
 * Reads the ticket of an address.
 * @throws UsageError when there is no such ticket, it has expired, or it does not name this disk; FailedError when a command of
 *   another version wrote it, or it cannot be read
 */
export async function readTicket(
  stateFolder: string,
  { ticket, diskId }: TicketAddress,
  now = new Date(),
): Promise<Ticket> {
  const path = join(stateFolder, 'tickets', ticket);
  const json = await readFile(path, 'utf8').catch((cause: unknown) => {
    if (!hasCode(cause, 'ENOENT')) throw new FailedError(`cannot read ${path}`, { cause });
    throw new UsageError(`no restore is using the address with the ticket ${ticket} (${path})`);
  });
  const found = parseShape(
    ticketShape,
    json,
    (why) => new FailedError(`${path} is not a ticket: ${why}`),
  );
  if (found.version !== toolVersion) {
    throw new FailedError(
      `the restore is by onevmdump ${found.version}, and the driver is of ${toolVersion}: run install.sh of the newer one`,
    );
  }
  if (found.expires * 1000 < now.getTime()) {
    throw new UsageError(`the ticket ${ticket} has expired; restore the bundle again`);
  }
  if (!found.disks.includes(diskId)) {
    throw new UsageError(`the ticket ${ticket} is not for disk ${diskId}`);
  }
  return found;
}
