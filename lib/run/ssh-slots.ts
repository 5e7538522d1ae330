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

export interface SessionSlots {
  take(kind: SessionKind): Promise<Slot>;
}

interface Lane {
  used: number;
  limit: number;
  /** In a row, with no other session open. */
  refusals: number;
}

/** For all runners of one host and user. */
export function sessionSlots(): SessionSlots {
  const lanes: Lane[] = [];
  let commands = 0;
  let waiting: (() => void)[] = [];

  function free(): number {
    const found = lanes.findIndex(({ used, limit }) => used < limit);
    return found >= 0 ? found : lanes.push({ used: 0, limit: mostSessions, refusals: 0 }) - 1;
  }

  function mayStart(): boolean {
    if (commands === 0) return true;
    return commands < mostCommands && lanes.some(({ used, limit }) => used < limit);
  }

  return {
    async take(kind) {
      while (kind === 'command' && !mayStart()) {
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
      const at = free();
      const lane = lanes[at];
      if (!lane) throw new Error('there is no such connection');
      lane.used += 1;
      if (kind === 'command') commands += 1;
      let held = true;
      const release = (): void => {
        if (!held) return;
        held = false;
        lane.used -= 1;
        lane.refusals = 0;
        if (kind === 'command') commands -= 1;
        const woken = waiting;
        waiting = [];
        for (const wake of woken) wake();
      };
      return {
        lane: at,
        release,
        async refused() {
          const others = lane.used - 1;
          lane.limit = Math.max(1, Math.min(lane.limit, others));
          const { refusals } = lane;
          if (others === 0) await sleep(settleMs);
          release();
          lane.refusals = others === 0 ? refusals + 1 : 0;
          return lane.refusals < mostRefusals;
        },
      };
    },
  };
}
