// Frames without compression: their bytes go directly into the sink.
import type { FrameList } from '../format/manifest.ts';
import type { BundleSink } from '../sink.ts';
import type { FrameBody } from './frame-body.ts';
import { FramePlaces } from './frame-places.ts';
import { Gatherer } from './write-buffer.ts';

export class PlainFrames implements FrameBody {
  readonly #gatherer: Gatherer;
  readonly #places = new FramePlaces();

  constructor(sink: BundleSink) {
    this.#gatherer = new Gatherer((data) => sink.write(data));
  }

  add(data: Uint8Array): Promise<void> {
    return this.#gatherer.add(data);
  }

  end(length: number, crc: number): Promise<void> {
    this.#places.add(length, length, crc);
    return Promise.resolve();
  }

  async flush(): Promise<FrameList> {
    await this.#gatherer.flush();
    return this.#places.all;
  }

  async close(): Promise<void> {
    await this.#gatherer.flush().catch(() => undefined);
  }
}
