// The ways back, as plain data: what a journal holds, and what `cleanup` in another process can
// carry out as well as the run that wrote it. A new kind needs a handler in lib/session/undo-handlers.ts.
import { quote } from './quote.ts';
import type { VmLock } from '../vm/vm.ts';
import type { SshTarget } from './runner.ts';

export type Undo =
  /** A file this tool made, such as a `.part`. Gone already is fine. */
  | { readonly kind: 'remove-file'; readonly path: string }
  /** A bundle on another machine: its part file, and with it the bundle, if it is the same file still. */
  | { readonly kind: 'remove-unfinished'; readonly part: string; readonly path: string }
  /** A private folder this tool made (its last name begins with `onevmdump-`), with all in it. */
  | { readonly kind: 'remove-folder'; readonly path: string }
  /** A folder this tool made where none was; what lies in it now stays. */
  | { readonly kind: 'remove-empty-folder'; readonly path: string }
  /** A server this tool started: the process named `program` that has `argument` in its command line. */
  | { readonly kind: 'stop-process'; readonly program: string; readonly argument: string }
  /** A guest whose file systems are about to be frozen; `guard` finds the process that thaws it, too. */
  | {
      readonly kind: 'thaw';
      readonly uri: string;
      readonly domain: string;
      readonly guard: string;
    }
  /** A guest that is about to be paused; likewise. */
  | {
      readonly kind: 'resume';
      readonly uri: string;
      readonly domain: string;
      readonly guard: string;
    }
  /** The domain's backup job, if it is the one that serves on `socket`. */
  | {
      readonly kind: 'abort-backup-job';
      readonly uri: string;
      readonly domain: string;
      readonly socket: string;
    }
  /** A snapshot of ours of the volume `origin` of the same group; its name begins with `onevmdump-`. */
  | {
      readonly kind: 'remove-snapshot-lv';
      readonly group: string;
      readonly name: string;
      readonly origin: string;
    }
  /** A logical volume that was not active; one that is open by now stays active. */
  | { readonly kind: 'deactivate-lv'; readonly group: string; readonly name: string }
  /** The snapshot of an RBD image (`<pool>/<image>`); its name begins with `onevmdump-`. */
  | {
      readonly kind: 'remove-rbd-snapshot';
      readonly image: string;
      readonly snapshot: string;
      /** Names it in messages: `disk 0 of VM 7`. */
      readonly disk: string;
      readonly access: {
        readonly user?: string;
        readonly keyfile?: string;
        readonly conf?: string;
      };
    }
  /** The VM's lock as it was `before`, null for unlocked, if it has the lock of this run still. */
  | {
      readonly kind: 'restore-lock';
      readonly endpoint: string;
      readonly vmId: number;
      readonly before: VmLock | null;
      /** Epoch seconds, just before the VM was locked. */
      readonly since: number;
      /** The lock of this run; missing as long as it is not known. */
      readonly own?: VmLock;
    }
  /** The image that was registered from `path`, whoever owns it by now; the path is this run's own and unique. */
  | {
      readonly kind: 'delete-image';
      readonly endpoint: string;
      readonly name: string;
      readonly path: string;
      /** Epoch milliseconds, just before oned was asked to make it; so below. */
      readonly since: number;
    }
  /** The template that has this mark, or this id: one that was being registered has no id yet. */
  | {
      readonly kind: 'delete-template';
      readonly endpoint: string;
      readonly name: string;
      readonly is: { readonly mark: string; readonly since: number } | { readonly id: number };
    }
  /** The VM that was made from this template, which is the run's own. */
  | {
      readonly kind: 'terminate-vm';
      readonly endpoint: string;
      readonly name: string;
      readonly templateId: number;
      readonly since: number;
    };

/** An undo and the machine it is for; undefined is this one. */
export interface PlacedUndo {
  readonly undo: Undo;
  readonly on: SshTarget | undefined;
}

/**
 * Carries undos out on the machine `on`; undefined is this one. Each MUST succeed when there is nothing
 * left to undo.
 */
export type UndoHandlers = {
  readonly [K in Undo['kind']]: (
    undo: Extract<Undo, { kind: K }>,
    on: SshTarget | undefined,
  ) => Promise<void>;
};

/** Carries out one undo by its handler. */
export async function carryOut({ undo, on }: PlacedUndo, handlers: UndoHandlers): Promise<void> {
  // The table's type pairs each kind with its handler; TypeScript cannot follow that through a lookup.
  const handler = handlers[undo.kind] as (undo: Undo, on: SshTarget | undefined) => Promise<void>;
  await handler(undo, on);
}

/**
 * Whether this undo removes something of ours from the storage of a VM or from its QEMU. As long as one of these is left,
 * the VM must not be started, moved or deleted: a snapshot or an active volume would be used on two hosts.
 */
export function freesStorage({ kind }: Undo): boolean {
  switch (kind) {
    case 'abort-backup-job':
    case 'remove-snapshot-lv':
    case 'deactivate-lv':
    case 'remove-rbd-snapshot':
      return true;
    default:
      return false;
  }
}

/** What is left when an undo failed, and what a person types to remove it. */
export function remedy({ undo, on }: PlacedUndo): string {
  return on === undefined ? remedyThere(undo) : `on ${on.host}: ${remedyThere(undo)}`;
}

function remedyThere(undo: Undo): string {
  switch (undo.kind) {
    case 'remove-file':
      return `the file ${undo.path} is left; remove it with: rm -f ${quote(undo.path)}`;
    case 'remove-unfinished':
      return `an unfinished bundle ${undo.path} may be left; as long as there is ${undo.part}, remove it with: rm -f ${quote(undo.path)} ${quote(undo.part)}`;
    case 'remove-folder':
      return `the folder ${undo.path} is left; remove it with: rm -rf ${quote(undo.path)}`;
    case 'remove-empty-folder':
      return `the folder ${undo.path} may be left; if it is empty, remove it with: rmdir ${quote(undo.path)}`;
    case 'stop-process':
      return `${undo.program} may still run; end it with: pkill -f ${quote(undo.argument)}`;
    case 'thaw':
      return `the file systems of ${undo.domain} may be frozen; thaw them with: ${virsh(undo)} domfsthaw ${quote(undo.domain)}`;
    case 'resume':
      return `${undo.domain} may be paused; resume it with: ${virsh(undo)} resume ${quote(undo.domain)}`;
    case 'abort-backup-job':
      return `a backup job of ${undo.domain} may be left; end it with: ${virsh(undo)} domjobabort ${quote(undo.domain)}`;
    case 'remove-snapshot-lv':
      return `the snapshot ${undo.group}/${undo.name} of the volume ${undo.origin} may be left; where that is active, or where the VM runs nowhere, remove it with: lvremove -f ${quote(`${undo.group}/${undo.name}`)}`;
    case 'deactivate-lv':
      return `the volume ${undo.group}/${undo.name} is left active; deactivate it with: lvchange -an ${quote(`${undo.group}/${undo.name}`)}`;
    case 'remove-rbd-snapshot':
      return `the snapshot ${undo.image}@${undo.snapshot} of ${undo.disk} may be left; remove it with: ${rbd(undo)} snap rm ${quote(`${undo.image}@${undo.snapshot}`)}`;
    case 'restore-lock':
      return undo.before === null
        ? `VM ${undo.vmId} is left locked; unlock it with: onevm unlock ${undo.vmId}`
        : `VM ${undo.vmId} is left locked by another level than before; put it back with: onevm lock ${undo.vmId} ${lockOption(undo.before.level)}`;
    case 'delete-image':
      return `the image ${undo.name} may be left; delete it with: oneimage delete ${quote(undo.name)}`;
    case 'delete-template':
      return `the template ${undo.name} may be left; delete it with: onetemplate delete ${quote(undo.name)}`;
    case 'terminate-vm':
      return `the VM ${undo.name} may be left; end it with: onevm terminate --hard ${quote(undo.name)}`;
  }
}

function virsh({ uri }: { readonly uri: string }): string {
  return uri === '' ? 'virsh' : `virsh --connect ${quote(uri)}`;
}

function rbd({ access }: Extract<Undo, { kind: 'remove-rbd-snapshot' }>): string {
  const { user, keyfile, conf } = access;
  const options = { '--id': user, '--keyfile': keyfile, '--conf': conf };
  const words = Object.entries(options).flatMap(([option, value]) =>
    value === undefined ? [] : [option, quote(value)],
  );
  return ['rbd', ...words].join(' ');
}

function lockOption(level: number): string {
  return { 1: '--use', 2: '--manage', 3: '--admin' }[level] ?? '--all';
}
