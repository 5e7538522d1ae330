// Undoes from here what a run has left, if its machine or container is gone for good. Only a person can know that.
import type { Log } from '../report/log.ts';
import type { JournalHeader } from '../run/journal-file.ts';
import { isBesideUs, placeName } from '../run/process-identity.ts';
import { remedy, type UndoHandlers } from '../run/undo.ts';

/**
 * Returns the handlers for the journal of such a run. They undo what is on hosts reached by ssh, in OpenNebula and on
 * shared storage. If it was a container on this machine, they also undo what is in this machine's libvirt. What was on
 * the gone machine itself ended with it. For a file whose name may also belong to another run, a warning says how to
 * remove it.
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
