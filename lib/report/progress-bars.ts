// Progress for people: bars on a terminal (cli-progress), else a log line now and then. stderr only.
import { MultiBar, Presets, type SingleBar } from 'cli-progress';
import type { Log } from './log.ts';
import type { Progress, ProgressTask } from './progress.ts';

const lineEveryMs = 10_000;

/** One bar for each task, with rate and time left. `stop` leaves the terminal as it was. */
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

/** 1536 becomes `1.5 KiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 ? Math.round(value) : value.toFixed(1)} ${units[power] ?? 'B'}`;
}

/** 75 becomes `1 min 15 s`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
