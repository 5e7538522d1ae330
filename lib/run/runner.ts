// Where external programs run: on this machine (local-runner.ts) or on a host by ssh.
// A command is a program and a list of arguments, never a line for a shell.

import type { Readable, Writable } from 'node:stream';
import type { ConnectionError } from '../report/errors.ts';

/** A machine that is reached by ssh; host and user have been validated. */
export interface SshTarget {
  readonly host: string;
  /** Undefined: the one of ssh's configuration. */
  readonly user?: string;
}

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  /** Variables added to the program's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /**
   * The program notices the end of its parent, and has work to do then: on a host it is not killed when the
   * connection is lost. (On this machine no program is killed when we end.)
   */
  readonly endsByItself?: boolean;
}

export interface RunOptions {
  /** Text or bytes for the program's stdin; without it stdin is empty. */
  readonly input?: string | Uint8Array;
  /** Time limit in milliseconds, after which the program is ended. Default 60 000; 0 means no limit. */
  readonly timeoutMs?: number;
  /** Limit of stdout in bytes; more is an error. Default 16 MiB. */
  readonly maxOutput?: number;
  /** Exit codes besides 0 that are an answer, not a failure. */
  readonly acceptStatus?: readonly number[];
  /** What is being done, for the error message: "read the header of disk.0". */
  readonly doing?: string;
  /** The step must not be left half done: it is completed even when the run is interrupted. */
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
  /** Its last lines. */
  readonly stderr: string;
  /** Why its end is not known: the connection to its machine was lost. */
  readonly lost?: ConnectionError | undefined;
}

/** A program that keeps running while we do other things, such as a qemu-nbd server. */
export interface Service {
  readonly pid: number;
  /** Settles when the program has ended. Never rejects. */
  readonly ended: Promise<ServiceEnd>;
  /** Sends SIGTERM, then SIGKILL after a few seconds, and waits for the end. */
  stop(): Promise<void>;
}

/** A program whose stdin is written and whose stdout is read while it runs. */
export interface PipedService extends Service {
  /** The caller ends it, at once if the program reads nothing. */
  readonly stdin: Writable;
  /** The caller reads it to its end, or the program waits. Only `ended` says whether the program succeeded. */
  readonly stdout: Readable;
}

export interface ForwardedSocket {
  /** On this machine. */
  readonly path: string;
  /** For a caller whose peer has gone: returns why the connection to the machine has ended, if it has. */
  lost(): Promise<ConnectionError | undefined>;
}

export interface Runner {
  /** For messages: `this machine` or the host's name. */
  readonly where: string;
  /** The machine, unless it is this one. */
  readonly target: SshTarget | undefined;
  /**
   * Runs a program to its end.
   * @throws ConnectionError when the machine cannot be reached, or the connection is lost.
   * @throws CommandError when it cannot be started, exits with another status than 0 or those
   *   accepted, takes too long or prints too much. The message ends with the program's own last lines.
   */
  run(command: Command, options?: RunOptions): Promise<Output>;
  /** Starts a program that keeps running. @throws CommandError when it cannot be started. */
  start(command: Command): Promise<Service>;
  /** The same, for a program that reads or writes a stream. @throws CommandError */
  startPiped(command: Command): Promise<PipedService>;
  /**
   * Returns a local Unix socket that leads to `path` on that machine; `path` itself when it is this machine.
   * Only its use shows whether anybody listens there, and whether the host allows forwarding.
   * @throws ConnectionError
   */
  forwardSocket(path: string): Promise<ForwardedSocket>;
}
