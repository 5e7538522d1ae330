// The kinds of undo for what an export or a restore does in OpenNebula.
import { setTimeout as sleep } from 'node:timers/promises';
import { FailedError } from '../report/errors.ts';
import { object } from '../run/json-object.ts';
import { count, text, type Infer } from '../run/json-shape.ts';
import { quote } from '../run/quote.ts';
import { undoKind } from '../run/undo.ts';
import { deleteImage, findImageFrom } from './images.ts';
import { restoreLock, type LockDeps } from './lock-undo.ts';
import { deleteTemplate, findTemplateWith, markOfRestore } from './templates.ts';
import { terminateVm, vmsOfTemplate } from './vms.ts';

export interface OneUndoDeps extends LockDeps {
  /** How long an undo may wait, from now on, for an image that OpenNebula is still taking over. */
  readonly imageWaitMs?: () => number;
  /** How long oned may take to answer. A call that was made longer ago makes nothing any more. */
  readonly answerMs: number;
}

/** The default. By then OpenNebula has taken over most images; what is left stays in the journal for `cleanup`. */
const imageWaitMsByDefault = 15 * 60_000;
/** A VM passes through states in which it cannot be terminated, such as PROLOG. */
const vmWaitMs = 60_000;
/** How long to wait for what oned is still making. After that, the undo stays in the journal. */
const answerWaitMs = 10_000;

/** Epoch milliseconds, just before oned was asked to make it. */
const since = count();
const byMark = object({ mark: text, since });
const byId = object({ id: count() });

const imageFields = object({ endpoint: text, name: text, path: text, since });

/** Deletes the image that was registered from `path`, whoever owns it now. Only this run uses that path. */
export const removeImage = undoKind({
  kind: 'delete-image',
  fields: imageFields,
  describe: ({ name }) =>
    `the image ${name} may be left; delete it with: oneimage delete ${quote(name)}`,
  async carryOut({ endpoint, path, name, since: asked }, deps: OneUndoDeps) {
    const { connect, log, imageWaitMs = () => imageWaitMsByDefault } = deps;
    const client = await connect(endpoint);
    const image = await madeBy(`image ${name}`, asked, deps, () => findImageFrom(client, path));
    if (!image) return;
    await deleteImage(client, image.id, {
      waitMs: imageWaitMs(),
      onWait: ({ state }) =>
        log.info(
          `image ${image.id} (${name}) is ${state ?? 'busy'}: waiting until it can be deleted`,
        ),
    });
  },
  whenMachineIsGone: 'anywhere',
});

const templateFields = object({
  endpoint: text,
  name: text,
  is: (value, place): Infer<typeof byMark> | Infer<typeof byId> =>
    typeof value === 'object' && value !== null && 'id' in value
      ? byId(value, place)
      : byMark(value, place),
});

/**
 * Deletes the template that has this mark, or this id. The id of a template is unknown while it is being registered.
 */
export const removeTemplate = undoKind({
  kind: 'delete-template',
  fields: templateFields,
  describe: ({ name }) =>
    `the template ${name} may be left; delete it with: onetemplate delete ${quote(name)}`,
  async carryOut({ endpoint, name, is }, deps: OneUndoDeps) {
    const client = await deps.connect(endpoint);
    const id =
      'id' in is
        ? is.id
        : await madeBy(`template ${name}`, is.since, deps, () =>
            findTemplateWith(client, markOfRestore, is.mark),
          );
    if (id !== undefined) await deleteTemplate(client, id);
  },
  whenMachineIsGone: 'anywhere',
});

const vmFields = object({ endpoint: text, name: text, templateId: count(), since });

/** Terminates the VM that was made from this template. Only this run uses the template. */
export const endVm = undoKind({
  kind: 'terminate-vm',
  fields: vmFields,
  describe: ({ name }) =>
    `the VM ${name} may be left; end it with: onevm terminate --hard ${quote(name)}`,
  async carryOut({ endpoint, name, templateId, since: asked }, deps: OneUndoDeps) {
    const client = await deps.connect(endpoint);
    const ids = await madeBy(`VM ${name}`, asked, deps, async () => {
      const vms = await vmsOfTemplate(client, templateId);
      return vms.length > 0 ? vms : undefined;
    });
    for (const id of ids ?? []) await terminateVm(client, id, vmWaitMs);
  },
  whenMachineIsGone: 'anywhere',
});

export const oneUndoKinds = [restoreLock, removeImage, removeTemplate, endVm];

/**
 * Finds what oned was asked to make at `asked`. The process that asked may have ended before the answer, so oned may
 * still be making it.
 * @returns undefined when it was not made.
 * @throws FailedError when that is not certain yet
 */
async function madeBy<T>(
  what: string,
  asked: number,
  { answerMs }: OneUndoDeps,
  find: () => Promise<T | undefined>,
): Promise<T | undefined> {
  const answered = asked + answerMs;
  const deadline = Date.now() + answerWaitMs;
  for (;;) {
    const certain = Date.now() >= answered;
    const found = await find();
    if (found !== undefined || certain) return found;
    if (Date.now() >= deadline) {
      const seconds = Math.ceil((answered - Date.now()) / 1000);
      throw new FailedError(
        `OpenNebula may still be making ${what}: run onevmdump cleanup again in ${Math.max(seconds, 1)} s`,
      );
    }
    await sleep(500);
  }
}
