// From the text of a call to the text of its reply.
import { datastoreMethods } from './datastore-methods.ts';
import { Failure, internal } from './failure.ts';
import { imageAllocateMethods } from './image-allocate.ts';
import { imageDeleteMethods } from './image-delete.ts';
import { imageMethods } from './images.ts';
import { imageChangeMethods } from './image-changes.ts';
import { networkMethods } from './networks.ts';
import { ownershipMethods } from './ownership.ts';
import { errorReply, Fault, faultReply, parseCall, successReply } from './protocol.ts';
import type { Params } from './protocol.ts';
import { systemMethods } from './system.ts';
import { templateMethods } from './templates.ts';
import type { MethodTable, World } from './world.ts';
import { OnedDied } from './vm-error.ts';
import { vmActionMethods } from './vm-actions.ts';
import { vmMethods } from './vms.ts';

const methods: MethodTable = {
  ...datastoreMethods,
  ...imageMethods,
  ...imageAllocateMethods,
  ...imageChangeMethods,
  ...imageDeleteMethods,
  ...networkMethods,
  ...ownershipMethods,
  ...systemMethods,
  ...templateMethods,
  ...vmActionMethods,
  ...vmMethods,
};

function record(world: World, method: string, params: Params): void {
  const [session, ...args] = params.list;
  const user = session?.type === 'string' ? session.value.split(':')[0] : undefined;
  world.calls.push({ method, user, args: args.map((one) => one.value) });
}

async function perform(world: World, method: string, params: Params): Promise<string> {
  const handler = Object.hasOwn(methods, method) ? methods[method] : undefined;
  if (!handler) throw new Fault(-506, `Method '${method}' not defined`);
  try {
    const user = world.users.authenticate(params);
    await world.mischief.before(method, world.ending);
    const requestId = Math.floor(Math.random() * 10000);
    return successReply(await handler({ world, user, params, requestId }));
  } catch (error) {
    if (error instanceof Failure) {
      return errorReply(`[${method}] ${error.message}`, error.code, error.objectId);
    }
    throw error;
  }
}

/** Answers one call; whatever goes wrong becomes an answer, too. @throws OnedDied when oned would die of it. */
export async function answerCall(
  world: World,
  body: string,
): Promise<{ method: string; reply: string }> {
  let method = '';
  try {
    const call = parseCall(body);
    method = call.method;
    record(world, call.method, call.params);
    return { method, reply: await perform(world, call.method, call.params) };
  } catch (error) {
    if (error instanceof OnedDied) {
      world.died = error.message;
      throw error;
    }
    if (error instanceof Fault) return { method, reply: faultReply(error) };
    const failure = internal(`sandbox: ${(error as Error).message}`);
    return { method, reply: errorReply(`[${method}] ${failure.message}`, failure.code, -1) };
  }
}
