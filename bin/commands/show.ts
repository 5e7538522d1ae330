// onevmdump show: shows what is in a bundle, and reads a few kilobytes of it.
import { openBundle } from '../../lib/bundle/read/reader.ts';
import type { Bundle, BundleDisk, BundleSource } from '../../lib/bundle/read/bundle.ts';
import { declaredVirtualSize } from '../../lib/qcow2/header.ts';
import type { EntrypointContext } from '../../lib/entrypoint.ts';
import { formatBytes } from '../../lib/report/format.ts';
import { printBytes } from '../../lib/report/print.ts';
import { bundleVm } from '../../lib/restore/restorable.ts';
import { stateName } from '../../lib/vm/states.ts';
import type { Vm } from '../../lib/vm/vm.ts';
import { withBundleSource } from '../../lib/session/with-bundle.ts';
import { configFor, printResult, type CliCommand } from './command.ts';
import { showDescription, type ShowOptions } from './show-options.ts';
import { printable, textTable } from './text-table.ts';

export const showCommand: CliCommand<ShowOptions> = {
  description: showDescription,
  run: runShow,
};

async function runShow(options: ShowOptions, { log, signal }: EntrypointContext): Promise<void> {
  const config = await configFor(options, log);
  await withBundleSource(options.bundle, { config, log, signal }, (source) =>
    showBundle(options, source, { log, signal }),
  );
}

async function showBundle(
  options: ShowOptions,
  source: BundleSource,
  { log, signal }: EntrypointContext,
): Promise<void> {
  const bundle = await openBundle(source, { log, signal });
  try {
    if (options.xml) {
      await printBytes(bundle.vmXml);
      return;
    }
    const report = await describe(bundle, source);
    await printResult(options, plain(report), report);
  } finally {
    await bundle.close();
  }
}

/** What --json prints. A field is null if only a manifest has it and the bundle has none. */
async function describe(bundle: Bundle, source: BundleSource) {
  const { about, manifest } = bundle;
  const vm = bundleVm(bundle);
  const sizes = new Map<number, number>();
  for (const disk of bundle.disks) sizes.set(disk.id, await virtualSize(disk, bundle, vm));
  return {
    bundle: source.name,
    size: source.size,
    id: about?.id ?? null,
    created: about?.created ?? null,
    tool: about ? `${about.tool.name} ${about.tool.version}` : null,
    compression: manifest?.compression ?? null,
    vm: about?.vm ?? { id: vm.id, name: vm.name, state: stateName(vm.state, vm.lcmState) },
    cloud: about?.cloud ?? null,
    consistency: about?.consistency ?? null,
    /** State that the VM has besides its disks: nvram (UEFI variables), tpm.tar (the state of its vTPM). */
    state: bundle.state.map(({ member }) => member.replace('./', '')),
    leftOut: about?.leftOut ?? [],
    disks: bundle.disks.map((disk) => {
      const facts = manifest?.disks.find(({ id }) => id === disk.id);
      const declared = vm.disks.find(({ id }) => id === disk.id);
      return {
        id: disk.id,
        format: disk.format ?? declared?.format ?? null,
        virtualSize: sizes.get(disk.id) ?? disk.size,
        dataBytes: facts?.dataBytes ?? disk.dataBytes,
        target: declared?.target ?? null,
        image: facts?.image?.name ?? declared?.image ?? null,
        checksum: facts?.checksum ?? null,
      };
    }),
  };
}

/** Bytes, as the guest sees the disk, which is not the size of a qcow2 file. */
async function virtualSize(disk: BundleDisk, { about }: Bundle, vm: Vm): Promise<number> {
  const facts = about?.disks.find(({ id }) => id === disk.id);
  if (facts) return facts.virtualSize;
  const declared = vm.disks.find(({ id }) => id === disk.id);
  const format = disk.format ?? declared?.format ?? declared?.driver;
  const isQcow2 = format?.toLowerCase() === 'qcow2';
  return (isQcow2 ? declaredVirtualSize(await disk.head()) : undefined) ?? disk.size;
}

function plain(report: Awaited<ReturnType<typeof describe>>): string {
  const { vm, consistency } = report;
  const meaning = {
    offline: 'the VM was not running',
    agent: 'file systems were frozen by the guest agent',
    suspend: 'the guest was paused',
    crash: 'the guest was neither frozen nor paused: as after a power cut',
  };
  // A bundle that a driver of OpenNebula made has no endpoint.
  const cloud = [report.cloud?.name, report.cloud?.endpoint].filter((text) => text !== undefined);
  const facts = [
    ['VM', `${vm.id}  ${printable(vm.name)}`],
    ['State', vm.state],
    ['Exported', report.created ?? 'unknown (no manifest)'],
    ...(consistency
      ? [
          ['Consistency', `${consistency.level}: ${meaning[consistency.level]}`],
          ...(consistency.frozenMs > 0 ? [['Frozen for', `${consistency.frozenMs} ms`]] : []),
        ]
      : []),
    ...(cloud.length > 0 ? [['Cloud', cloud.map(printable).join(', ')]] : []),
    ...(report.state.length > 0 ? [['Also holds', report.state.map(stateWords).join(', ')]] : []),
    ...(report.leftOut.length > 0
      ? [['Left out', `disk ${report.leftOut.join(', ')} (not requested)`]]
      : []),
    ['Made by', report.tool ?? 'the older onevmdump, or another tool'],
    ['Size', `${formatBytes(report.size)}${report.compression ? `, ${report.compression}` : ''}`],
  ];
  const rows = report.disks.map((disk) => [
    String(disk.id),
    disk.target ?? '-',
    disk.format ?? '-',
    formatBytes(disk.virtualSize),
    formatBytes(disk.dataBytes),
    disk.image ?? '(volatile)',
  ]);
  const disks = textTable([['DISK', 'TARGET', 'FORMAT', 'SIZE', 'DATA', 'IMAGE'], ...rows]);
  return `${textTable(facts)}\n\n${disks}`;
}

function stateWords(member: string): string {
  return member === 'nvram' ? 'UEFI variables' : 'the state of the vTPM';
}
