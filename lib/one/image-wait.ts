// Waits until OpenNebula has taken over an image.
import { setTimeout as sleep } from 'node:timers/promises';
import { OpenNebulaError } from '../report/errors.ts';
import type { OneClient } from './client.ts';
import type { RegisteredImage, ImageState } from './image-xml.ts';
import { getImage } from './images.ts';
import { isRefusal } from './answers.ts';

/** oned may be restarted meanwhile: so many polls in a row may go without an answer. */
const maxUnanswered = 30;

export interface WaitOptions {
  /** 0 for no limit. */
  readonly timeoutMs: number;
  readonly pollMs?: number;
  readonly signal?: AbortSignal;
  /** Told of each state once. */
  readonly onState?: (state: ImageState | undefined) => void;
  /** Told every ten seconds how many it has been. */
  readonly onWait?: (seconds: number) => void;
}

/** Small images are taken over at once; big ones are asked after ever less often, up to `pollMs`. */
const firstPollMs = 50;
const tellEveryMs = 10_000;

/**
 * @returns the image, READY (or in use already)
 * @throws OpenNebulaError with oned's own account when the image goes to ERROR, is deleted or
 *   disabled, or is not READY in time; the signal's reason when that is aborted
 */
export async function waitForImage(
  client: OneClient,
  id: number,
  { timeoutMs, pollMs = 1000, signal, onState, onWait }: WaitOptions,
): Promise<RegisteredImage> {
  const started = Date.now();
  let told = started;
  let nextPollMs = Math.min(firstPollMs, pollMs);
  const deadline = timeoutMs === 0 ? Infinity : Date.now() + timeoutMs;
  let last: ImageState | undefined;
  let unansweredPolls = 0;
  for (;;) {
    signal?.throwIfAborted();
    const image = await getImage(client, id).catch((error: unknown) => {
      const unanswered = error instanceof OpenNebulaError && !isRefusal(error);
      if (!unanswered || ++unansweredPolls > maxUnanswered) throw error;
    });
    if (image) {
      unansweredPolls = 0;
      if (image.state !== last) onState?.(image.state);
      last = image.state;
      if (image.usable) return image;
      refuse(image);
    }
    if (Date.now() >= deadline) {
      throw new OpenNebulaError(
        `image ${id} is not READY after ${timeoutMs / 1000} s; its state is ${last ?? 'unknown'}`,
      );
    }
    if (Date.now() - told >= tellEveryMs) {
      told = Date.now();
      onWait?.(Math.round((told - started) / 1000));
    }
    await pause(Math.min(nextPollMs, Math.max(1, deadline - Date.now())), signal);
    nextPollMs = Math.min(nextPollMs * 2, pollMs);
  }
}

/** States that lead to READY, or back to it. */
const underway: readonly (ImageState | undefined)[] = [
  'INIT',
  'LOCKED',
  'LOCKED_USED',
  'LOCKED_USED_PERS',
  'CLONE',
];

/** Throws when there is nothing to wait for any more. */
function refuse({ id, facts, state, error }: RegisteredImage): void {
  if (underway.includes(state)) return;
  const what = `image ${id} (${facts.name})`;
  if (state === 'ERROR') {
    throw new OpenNebulaError(
      `OpenNebula could not take over ${what}: ${error ?? 'it gives no reason'}`,
    );
  }
  throw new OpenNebulaError(
    `${what} went to the state ${state ?? 'unknown'} instead of READY${error === undefined ? '' : `: ${error}`}`,
  );
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal ? { signal } : {});
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}
