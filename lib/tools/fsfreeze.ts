// The commands of the QEMU guest agent that freeze and thaw a guest's file systems (guest-fsfreeze-* in QEMU's
// qga/qapi-schema.json), sent by `virsh qemu-agent-command` with a time limit of their own. `virsh domfsfreeze` and
// `domfsthaw` have none: they wait for as long as `virsh guest-agent-timeout` was told, by default forever. That is
// the administrator's setting, and nobody can read it, so it could not be put back either.
import { CommandError, errorMessage, FailedError } from '../report/errors.ts';
import { object } from '../run/json-object.ts';
import { count, oneOf, parseShape, type Shape } from '../run/json-shape.ts';
import { virsh, type Domain } from './virsh.ts';

/** How long the agent may take to answer a question, in seconds. */
const answerSeconds = 5;
/**
 * How long it may take to freeze or thaw, in seconds. It answers a freeze when all that the guest has cached is
 * written. If it did not answer before, libvirt first waits for up to 5 s until it does (qemuAgentGuestSync).
 */
const actionSeconds = 20;

/** The agent answered that it is not allowed to freeze, so nothing was frozen. */
export class FreezeRefusedError extends FailedError {}

/** The agent itself answered that it could not thaw: its freeze has failed, or has already ended. */
export class ThawRefusedError extends FailedError {}

/**
 * Asks the guest agent whether the file systems are frozen; the answer also shows that the agent works. While they
 * are frozen, the agent answers only this, a ping and a thaw (QEMU, qga/main.c).
 * @throws FailedError with libvirt's reason when the agent does not answer, or is not allowed to.
 */
export async function fileSystemState(domain: Domain): Promise<'frozen' | 'thawed'> {
  const noAnswer = (why: string): FailedError =>
    new FailedError(
      `the guest agent does not answer: ${why.replaceAll(/\s*\n(?:error: )?/g, '; ')}`,
    );
  const { status, stderr, text } = await virsh(domain, agentCommand(domain, 'status'), {
    doing: `reach the guest agent of ${domain.name}`,
    acceptStatus: [1],
  });
  if (status !== 0) throw noAnswer(stderr.trim().replace(/^error: /, ''));
  return returned(oneOf('frozen', 'thawed'), text, noAnswer);
}

/**
 * Freezes the guest's file systems. @returns how many.
 * @throws FreezeRefusedError when the agent is not allowed to: another tool has just frozen them, or the agent's
 *   configuration forbids it; after any other error they may be frozen.
 */
export async function freezeFileSystems(domain: Domain): Promise<number> {
  // Older agents say `disabled for this instance`, newer ones `the agent is in frozen state`. An agent whose
  // configuration forbids the command also says the former.
  const refused = /guest-fsfreeze-freeze\b.*(?:has been disabled|frozen state)/s;
  try {
    return await counted(domain, 'freeze');
  } catch (error) {
    if (error instanceof CommandError && refused.test(error.stderr)) {
      throw new FreezeRefusedError(errorMessage(error), { cause: error });
    }
    throw error;
  }
}

/**
 * Thaws all file systems, and returns when that is done. It is not an error if no file system is frozen.
 * @returns how many file systems were frozen.
 * @throws ThawRefusedError, from a Windows guest once after it has ended its freeze by itself (qga/vss-win32 of QEMU:
 *   "couldn't hold writes: fsfreeze is limited up to 10 seconds"); CommandError
 */
export async function thawFileSystems(domain: Domain): Promise<number> {
  const answered = "unable to execute QEMU agent command 'guest-fsfreeze-thaw'";
  try {
    return await counted(domain, 'thaw');
  } catch (error) {
    if (error instanceof CommandError && error.stderr.includes(answered)) {
      throw new ThawRefusedError(errorMessage(error), { cause: error });
    }
    throw error;
  }
}

/** Freezes or thaws. @returns how many file systems. @throws FailedError when the agent does not say how many */
async function counted(domain: Domain, action: 'freeze' | 'thaw'): Promise<number> {
  const doing = `${action} the file systems of ${domain.name}`;
  const { text } = await virsh(domain, agentCommand(domain, action), { doing });
  return returned(count(), text, (why) => new FailedError(`cannot ${doing}: ${why}`));
}

/** The words that have virsh send a command to the agent. */
function agentCommand(
  { name }: Pick<Domain, 'name'>,
  command: 'status' | 'freeze' | 'thaw',
): readonly string[] {
  const seconds = command === 'status' ? answerSeconds : actionSeconds;
  const execute = JSON.stringify({ execute: `guest-fsfreeze-${command}` });
  return ['qemu-agent-command', '--timeout', String(seconds), name, execute];
}

/** What the agent returned. */
function returned<T>(shape: Shape<T>, text: string, unexpected: (why: string) => Error): T {
  return parseShape(object({ return: shape }), text, () =>
    unexpected(`it answered ${text.trim().slice(0, 200)}`),
  ).return;
}
