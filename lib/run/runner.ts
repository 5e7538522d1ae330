// Where external programs run: on this machine (local-runner.ts) or on a host by ssh.
// A command is a program and a list of arguments, never a line for a shell.

import type { Readable, Writable } from 'node:stream';
import type { ConnectionError } from '../report/errors.ts';

/** A machine that is reached by ssh; host and user are checked words. */
export interface SshTarget {
  readonly host: string;
  /** Undefined: whom the user's ssh configuration says. */
  readonly user?: string;
}

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  /** Variables that are added to the program's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /**
   * It notices the end of its parent, and has something to do then: on a host it is not killed when the
   * connection is lost. (On this machine nothing is.)
   */
  readonly endsByItself?: boolean;
}

export interface RunOptions {
  /** Text or bytes for the program's stdin; without it stdin is empty. */
  readonly input?: string | Uint8Array;
  /** Ends the program after so many milliseconds. Default 60 000; 0 means no limit. */
  readonly timeoutMs?: number;
  /** Most bytes of stdout that are kept; more is an error. Default 16 MiB. */
  readonly maxOutput?: number;
  /** Exit codes besides 0 that are an answer and no failure. */
  readonly acceptStatus?: readonly number[];
  /** What is being done, for the error message: "read the header of disk.0". */
  readonly doing?: string;
  /** A step that must not be left half done: it is made also when the run is interrupted. */
  readonly uninterrupted?: boolean;
}

export interface Output {
  readonly status: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface ServiceEnd {
  /** Its exit code. */
  readonly status: number | undefined;
  /** The end of it. */
  readonly stderr: string;
  /** Why nobody knows what has become of it: the connection to its machine was lost. */
  readonly lost?: ConnectionError | undefined;
}

/** A program that goes on running beside us, such as a qemu-nbd server. */
export interface Service {
  readonly pid: number;
  /** Settles when the program has ended. Never rejects. */
  readonly ended: Promise<ServiceEnd>;
  /** Sends SIGTERM, then SIGKILL after a few seconds, and waits for the end. */
  stop(): Promise<void>;
}

/** A program whose stdin is written and whose stdout is read while it runs. */
export interface PipedService extends Service {
  /** Ended by its user, at once where the program reads nothing. */
  readonly stdin: Writable;
  /** Read to its end by its user, or the program waits; its end alone says nothing of success, `ended` does. */
  readonly stdout: Readable;
}

export interface ForwardedSocket {
  /** On this machine. */
  readonly path: string;
  /** For who has lost what the socket leads to: why the connection to the machine has ended, if it has. */
  lost(): Promise<ConnectionError | undefined>;
}

export interface Runner {
  /** Printable: `this machine` or the host's name. */
  readonly where: string;
  /** The machine, if it is not this one. */
  readonly target: SshTarget | undefined;
  /**
   * Runs a program to its end.
   * @throws ConnectionError when the machine cannot be reached, or the connection is lost.
   * @throws CommandError when it cannot be started, exits with another status than 0 or those
   *   accepted, takes too long or says too much. The message holds the program's own last words.
   */
  run(command: Command, options?: RunOptions): Promise<Output>;
  /** Starts a program that keeps running. @throws CommandError when it cannot be started. */
  start(command: Command): Promise<Service>;
  /** The same for a program that takes or gives a stream. @throws CommandError */
  startPiped(command: Command): Promise<PipedService>;
  /**
   * A local Unix socket that leads to `path` on that machine; the path itself when it is this one.
   * Whether anybody listens there, and whether the host allows it, shows when it is used.
   * @throws ConnectionError
   */
  forwardSocket(path: string): Promise<ForwardedSocket>;
}
