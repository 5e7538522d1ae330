// Frames without compression: the bytes themselves, straight into the sink.
import type { FrameBody } from './frame-body.ts';
import { createGatherer } from './write-buffer.ts';
import type { Frame } from '../format/manifest.ts';
import type { BundleSink } from '../sink.ts';

/** Frames as they are. */
export function plainFrames(sink: BundleSink): FrameBody {
  const gatherer = createGatherer((data) => sink.write(data));
  const frames: Frame[] = [];
  let offset = 0;
  return {
    add: (data) => gatherer.add(data),
    end(length, crc) {
      frames.push([offset, length, length, crc]);
      offset += length;
      return Promise.resolve();
    },
    async flush() {
      await gatherer.flush();
      return frames;
    },
    close: () => gatherer.flush().catch(() => undefined),
  };
}
