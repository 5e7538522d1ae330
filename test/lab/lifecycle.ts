// What libvirt says that a domain goes through while something is done.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LibvirtLab } from './libvirt.ts';
import type { LabVm } from './lab-vm.ts';
import { until } from '../support/limits.ts';

/**
 * The lifecycle events of a running VM's domain while `body` runs, such as `Suspended Paused` and `Resumed Unpaused`, in
 * order. Neither a freeze by the agent nor a backup job is one.
 */
export async function lifecycleOf(
  { uri }: Pick<LibvirtLab, 'uri'>,
  vm: LabVm,
  body: () => Promise<unknown>,
): Promise<readonly string[]> {
  const args = ['-c', uri, 'event', '--domain', vm.domain, '--event', 'lifecycle', '--loop'];
  const watch = spawn('stdbuf', ['-oL', 'virsh', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(watch, 'close');
  let said = '';
  watch.stdout.on('data', (data: Buffer) => (said += data.toString()));
  /** All events that came in, when those that were there before this call have come in. */
  const heard = async (): Promise<readonly string[]> => {
    const before = eventsIn(said).length;
    await until(`virsh tells of ${vm.domain}`, async () => {
      await vm.virsh('suspend', vm.domain);
      await vm.virsh('resume', vm.domain);
      await sleep(200);
      return eventsIn(said).length > before;
    });
    return eventsIn(said);
  };
  try {
    // It does not say when it begins to listen.
    const before = await heard();
    await body();
    // Without the pause of its own.
    return (await heard()).slice(before.length, -2);
  } finally {
    watch.kill();
    await closed;
  }
}

function eventsIn(said: string): readonly string[] {
  return [...said.matchAll(/^event 'lifecycle' for domain \S+: (.*)\n/gm)].map(
    ([, event = '']) => event,
  );
}
