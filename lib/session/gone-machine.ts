// What can be undone here of a run whose machine or container is gone for good: only a person can know that it is.
import type { Log } from '../report/log.ts';
import type { JournalHeader } from '../run/journal-file.ts';
import { isBesideUs, placeName } from '../run/process-identity.ts';
import { remedy, type UndoHandlers } from '../run/undo.ts';

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
  return {
    read: (undo) => handlers.read(undo),
    async carryOut({ undo, on }) {
      const facts = handlers.read(undo);
      const fate = on ? 'anywhere' : facts.fate(runId);
      if (fate === 'anywhere' || (fate === 'ended' && beside)) {
        await handlers.carryOut({ undo, on });
      }
      if (fate === 'by-hand') {
        log.warn(
          `not undone, since it was on ${placeName(process)}; if it can be seen from elsewhere: ${remedy({ undo, on }, facts)}`,
        );
      }
    },
  };
}
