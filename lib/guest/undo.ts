// The kinds of undo for what an export does to a running guest.
import { object } from '../run/json-object.ts';
import { text } from '../run/json-shape.ts';
import { quote } from '../run/quote.ts';
import { undoKind } from '../run/undo.ts';
import { domainAt } from '../tools/virsh.ts';
import { abortOwnBackupJob } from './backup-job.ts';
import { undoFreeze, undoSuspend } from './watchdog.ts';

/** `uri` is for `virsh --connect`; `guard` is the name of the watchdog, which also thaws or resumes the guest. */
const guestFields = object({ uri: text, domain: text, guard: text });

/** Thaws a guest's file systems. Recorded before they are frozen. */
export const thawGuest = undoKind({
  kind: 'thaw',
  fields: guestFields,
  describe: (data) =>
    `the file systems of ${data.domain} may be frozen; thaw them with: ${virsh(data)} domfsthaw ${quote(data.domain)}`,
  carryOut: ({ uri, domain, guard }, { runnerAt }, on) =>
    undoFreeze(domainAt(runnerAt(on), uri, domain), guard),
  whenMachineIsGone: 'ended',
});

/** Resumes a guest. Recorded before it is paused. */
export const resumeGuest = undoKind({
  kind: 'resume',
  fields: guestFields,
  describe: (data) =>
    `${data.domain} may be paused; resume it with: ${virsh(data)} resume ${quote(data.domain)}`,
  carryOut: ({ uri, domain, guard }, { runnerAt }, on) =>
    undoSuspend(domainAt(runnerAt(on), uri, domain), guard),
  whenMachineIsGone: 'ended',
});

const jobFields = object({ uri: text, domain: text, socket: text });

/** Ends the domain's backup job, if it is the one that serves on `socket`. */
export const abortBackupJob = undoKind({
  kind: 'abort-backup-job',
  fields: jobFields,
  describe: (data) =>
    `a backup job of ${data.domain} may be left; end it with: ${virsh(data)} domjobabort ${quote(data.domain)}`,
  carryOut: ({ uri, domain, socket }, { runnerAt }, on) =>
    abortOwnBackupJob(domainAt(runnerAt(on), uri, domain), socket),
  whenMachineIsGone: 'ended',
  freesStorage: true,
});

export const guestUndoKinds = [thawGuest, resumeGuest, abortBackupJob];

function virsh({ uri }: { readonly uri: string }): string {
  return uri === '' ? 'virsh' : `virsh --connect ${quote(uri)}`;
}
