// Limits the sessions on the connections to one host. sshd refuses more than MaxSessions (default 10) on one
// connection; a hardened host may allow only two. Commands, which end by themselves, wait for each other. Programs that
// keep running, and commands that end them, never wait for a command that may hang: if the connection is full, they get
// another one.
import { setTimeout as sleep } from 'node:timers/promises';

/** Commands at the same time; more would not be faster, since each starts a program on the host. */
const mostCommands = 4;
/** Sessions on one connection, besides that of its keeper; fewer once the host has refused one. */
const mostSessions = 8;
/** sshd may count a session for a moment longer than it lasts here. */
const settleMs = 100;
const mostRefusals = 30;

/** `command`: it ends by itself soon. `other`: it keeps running, or ends what runs. */
export type SessionKind = 'command' | 'other';

/** The right to one session. */
export interface Slot {
  /** Which of the host's connections it is on, from 0. */
  readonly lane: number;
  release(): void;
  /**
   * Reports that the host refused the session: the connection's limit is the number of sessions now open. Releases
   * the slot. @returns whether to take another slot; false when the host refuses every session
   */
  refused(): Promise<boolean>;
}

interface Lane {
  used: number;
  limit: number;
  /** In a row, with no other session open. */
  refusals: number;
}

/** The sessions of all runners of one host and user. */
export class SessionSlots {
  readonly #lanes: Lane[] = [];
  /** Commands that run now. */
  #commands = 0;
  #waiting: (() => void)[] = [];

  /** Waits until a session may be started. */
  async take(kind: SessionKind): Promise<Slot> {
    while (kind === 'command' && !this.#mayStartCommand()) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    const at = this.#freeLane();
    const lane = this.#lanes[at];
    if (!lane) throw new Error('there is no such connection');
    lane.used += 1;
    if (kind === 'command') this.#commands += 1;
    let isHeld = true;
    const release = (): void => {
      if (!isHeld) return;
      isHeld = false;
      this.#release(lane, kind);
    };
    return { lane: at, release, refused: () => refuse(lane, release) };
  }

  #mayStartCommand(): boolean {
    if (this.#commands === 0) return true;
    return this.#commands < mostCommands && this.#lanes.some(hasRoom);
  }

  #freeLane(): number {
    const found = this.#lanes.findIndex(hasRoom);
    if (found >= 0) return found;
    return this.#lanes.push({ used: 0, limit: mostSessions, refusals: 0 }) - 1;
  }

  #release(lane: Lane, kind: SessionKind): void {
    lane.used -= 1;
    lane.refusals = 0;
    if (kind === 'command') this.#commands -= 1;
    const woken = this.#waiting;
    this.#waiting = [];
    for (const wake of woken) wake();
  }
}

function hasRoom({ used, limit }: Lane): boolean {
  return used < limit;
}

/** `Slot.refused` for a session on this lane. */
async function refuse(lane: Lane, release: () => void): Promise<boolean> {
  const others = lane.used - 1;
  lane.limit = Math.max(1, Math.min(lane.limit, others));
  const { refusals } = lane;
  if (others === 0) await sleep(settleMs);
  release();
  lane.refusals = others === 0 ? refusals + 1 : 0;
  return lane.refusals < mostRefusals;
}
