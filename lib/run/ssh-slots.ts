// How many sessions the connections to one host carry at once. sshd refuses more than MaxSessions (default 10) on one
// connection; a hardened host may allow as few as two. Commands, which end by themselves, wait for each other. What goes on
// running, and what ends it, never waits for a command that may hang: where the connection is full, it gets another one.
import { setTimeout as sleep } from 'node:timers/promises';

/** Commands at the same time; more gain nothing, since each starts a program on the host. */
const mostCommands = 4;
/** Sessions of one connection, beside that of its keeper; lower where the host has refused one. */
const mostSessions = 8;
/** A session that has ended here may be counted by sshd for a moment longer. */
const settleMs = 100;
const mostRefusals = 30;

/** `command`: it ends by itself soon. `other`: it goes on running, or ends what runs. */
export type SessionKind = 'command' | 'other';

/** The right to one session. */
export interface Slot {
  /** Which of the host's connections it is on, from 0. */
  readonly lane: number;
  release(): void;
  /**
   * The host has refused the session: as many as are open now is what the connection carries. Releases the slot.
   * @returns whether to take another one; false when the host refuses every session
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
