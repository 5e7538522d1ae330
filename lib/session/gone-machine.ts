// What can be undone here of a run whose machine or container is gone for good: only a person can know that it is.
import type { Log } from '../report/log.ts';
import type { JournalHeader } from '../run/journal-file.ts';
import { isBesideUs, placeName } from '../run/process-identity.ts';
import type { SshTarget } from '../run/runner.ts';
import { carryOut, remedy, type Undo, type UndoHandlers } from '../run/undo.ts';

/** `here`: it can be undone from here. `over`: it ended with its machine. `by-hand`: its name may be another's here. */
type Fate = 'here' | 'over' | 'by-hand';

/**
 * The handlers for the journal of such a run: they undo what lies on hosts reached by ssh, in OpenNebula, on shared
 * storage and, of a container that was on this machine, in its libvirt. What was on the machine itself ended with it.
 * Files whose names are not this run's alone are a warning that says how to remove them.
 */
export async function handlersForGone(
  handlers: UndoHandlers,
  { runId, process }: JournalHeader,
  log: Log,
): Promise<UndoHandlers> {
  const beside = await isBesideUs(process);
  const handle = async (undo: Undo, on: SshTarget | undefined): Promise<void> => {
    const fate = on ? 'here' : fateOf(undo, runId, beside);
    if (fate === 'here') await carryOut({ undo, on }, handlers);
    if (fate === 'by-hand') {
      log.warn(
        `not undone, since it was on ${placeName(process)}; if it can be seen from elsewhere: ${remedy({ undo, on })}`,
      );
    }
  };
  const kinds = Object.keys(handlers).map((kind) => [kind, handle] as const);
  return Object.fromEntries(kinds) as UndoHandlers;
}

/** Of an undo for the machine that is gone. @param beside it was a container on the machine that runs now */
function fateOf(undo: Undo, runId: string, beside: boolean): Fate {
  switch (undo.kind) {
    // OpenNebula and shared storage are the same from everywhere, and these names and identities are one run's.
    case 'restore-lock':
    case 'delete-image':
    case 'delete-template':
    case 'terminate-vm':
    case 'remove-rbd-snapshot':
    case 'remove-snapshot-lv':
    case 'remove-folder':
      return 'here';
    case 'stop-process':
    case 'thaw':
    case 'resume':
    case 'abort-backup-job':
    case 'deactivate-lv':
      return beside ? 'here' : 'over';
    case 'remove-file':
      return undo.path.includes(runId) ? 'here' : 'by-hand';
    case 'remove-unfinished':
    case 'remove-empty-folder':
      return 'by-hand';
  }
}
