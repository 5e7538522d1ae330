// Waits until an image is READY.
import { setTimeout as sleep } from 'node:timers/promises';
import { OpenNebulaError } from '../report/errors.ts';
import type { OneClient } from './client.ts';
import type { RegisteredImage, ImageState } from './image-xml.ts';
import { getImage } from './images.ts';
import { isRefusal } from './answers.ts';

/** How many polls in a row may get no answer, because oned may be restarted meanwhile. */
const maxUnanswered = 30;

export interface WaitOptions {
  /** In milliseconds; 0 for no limit. */
  readonly timeoutMs: number;
  readonly pollMs?: number;
  readonly signal?: AbortSignal;
  /** Called once for each state. */
  readonly onState?: (state: ImageState | undefined) => void;
  /** Called every ten seconds with the seconds so far. */
  readonly onWait?: (seconds: number) => void;
}

/** The first pause: small images are READY soon. For big ones the pause grows, up to `pollMs`. */
const firstPollMs = 50;
const tellEveryMs = 10_000;

/**
 * @returns the image, READY or already in use
 * @throws OpenNebulaError with oned's own message when the image goes to ERROR, is deleted or disabled, or is not
 *   READY in time; the signal's reason when it is aborted
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

/** Throws when the image will not become READY. */
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
