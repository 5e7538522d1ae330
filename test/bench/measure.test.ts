// What the benchmark measures of a command, with commands whose use of memory and time is known.
import { describe, expect, test } from '@jest/globals';
import { measure } from '../../bench/measure.ts';

const MB = 1e6;
const python = (code: string): string => `python3 -c "${code}"`;

describe('the measurement of a command', () => {
  test('a peak of memory that ends long before the next sample is measured', async () => {
    const { peakMB } = await measure(
      python(`import time; time.sleep(0.4); b = b'x' * ${200 * MB}; del b; time.sleep(0.4)`),
    );
    expect(peakMB).toBeGreaterThan(200);
    expect(peakMB).toBeLessThan(260);
  });

  test('the memory of all processes of a command is added up', async () => {
    const one = python(`import time; b = b'x' * ${80 * MB}; time.sleep(1)`);
    const { peakMB } = await measure(`${one} & ${one} & wait`);
    expect(peakMB).toBeGreaterThan(160);
    expect(peakMB).toBeLessThan(240);
  });

  test('memory that processes share is counted once', async () => {
    // Four children have all of their parent's pages and change none.
    const { peakMB } = await measure(
      python(
        `import os, time; b = b'x' * ${100 * MB}; [os.fork() or (time.sleep(0.8), os._exit(0)) for n in range(4)]; time.sleep(1.2)`,
      ),
    );
    expect(peakMB).toBeGreaterThan(100);
    expect(peakMB).toBeLessThan(300);
  });

  test('an open file in /dev/shm that has no name any more counts as memory', async () => {
    const { peakMB } = await measure(
      python(
        `import os, time; f = open('/dev/shm/onevmdump-bench-' + str(os.getpid()), 'wb'); os.unlink(f.name); f.write(bytes(${60 * MB})); f.flush(); time.sleep(0.5)`,
      ),
    );
    expect(peakMB).toBeGreaterThan(60);
  });

  test('CPU seconds of the processes that a command has started are counted, and waiting is not', async () => {
    const { seconds, cpuSeconds } = await measure(
      `${python('import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass')} & wait; sleep 0.5`,
    );
    expect(seconds).toBeGreaterThan(1);
    expect(cpuSeconds).toBeGreaterThan(0.45);
    expect(cpuSeconds).toBeLessThan(seconds);
  });

  test('the measurement of a command that fails fails with what it has printed', async () => {
    await expect(measure('echo no such disk >&2; exit 3')).rejects.toThrow(
      /ended with 3:\nno such disk/,
    );
  });

  test('the measurement of a pipe fails when its first command fails', async () => {
    await expect(measure('false | true')).rejects.toThrow('ended with 1');
  });
});
