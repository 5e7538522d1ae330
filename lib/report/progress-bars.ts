// Shows progress on stderr: bars on a terminal (cli-progress), else a log line from time to time.
import { MultiBar, Presets, type SingleBar } from 'cli-progress';
import { formatBytes, formatSeconds } from './format.ts';
import type { Log } from './log.ts';
import type { Progress, ProgressTask } from './progress.ts';

const lineEveryMs = 10_000;

/** One bar for each task, with rate and remaining time. `stop` restores the terminal. */
export function progressBars(stream: NodeJS.WriteStream): Progress & { stop(): void } {
  const bars = new MultiBar(
    {
      stream,
      clearOnComplete: false,
      hideCursor: true,
      emptyOnZero: true,
      fps: 5,
      etaBuffer: 50,
      format: '{label} [{bar}] {percentage}%  {done} of {size}  {rate}/s  {eta_formatted} left',
    },
    Presets.legacy,
  );
  return {
    begin(label, total) {
      const started = Date.now();
      let done = 0;
      const facts = () => ({
        label,
        done: formatBytes(done),
        size: formatBytes(total),
        rate: formatBytes((done / Math.max(1, Date.now() - started)) * 1000),
      });
      const bar: SingleBar = bars.create(Math.max(1, total), 0, facts());
      return {
        add(bytes) {
          done += bytes;
          bar.update(done, facts());
        },
        end() {
          if (total === 0) bar.update(1, facts());
          bar.stop();
        },
      };
    },
    stop: () => bars.stop(),
  };
}

/** A log line every ten seconds for each task that takes longer, and none for the others. */
export function progressLines(log: Log, now: () => number = Date.now): Progress {
  return {
    begin(label, total): ProgressTask {
      const started = now();
      let last = started;
      let done = 0;
      return {
        add(bytes) {
          done += bytes;
          const time = now();
          if (time - last < lineEveryMs) return;
          last = time;
          const rate = done / ((time - started) / 1000);
          const left = rate > 0 ? `, ${formatSeconds((total - done) / rate)} left` : '';
          const percent = total > 0 ? Math.floor((done / total) * 100) : 100;
          log.info(
            `${label}: ${percent}% (${formatBytes(done)} of ${formatBytes(total)}, ${formatBytes(rate)}/s${left})`,
          );
        },
        end: () => undefined,
      };
    },
  };
}
