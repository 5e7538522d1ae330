// A backup as oned makes it: prebackup, backup, postbackup, by the built driver actions, each in a process of
// its own, with the arguments and the stdin that were recorded of OpenNebula 6.10.
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseVm } from '../../lib/vm/vm-xml.ts';
import { runToEnd, type Ended } from '../support/shell.ts';
import type { ContractStorage } from './contract.ts';
import type { ExportScene } from './export-scene.ts';
import type { LabVm } from './lab-vm.ts';

const drivers = new URL('../../dist/drivers', import.meta.url).pathname;

export interface OnedBackup {
  /** The VM as one.vm.info has it. */
  readonly xml: string;
  /** The VM's host, as oned names it. */
  readonly host: string;
  /** DATASTORE_LOCATION on it. */
  readonly location: string;
  readonly diskIds: readonly number[];
  readonly fsFreeze?: 'NONE' | 'AGENT' | 'SUSPEND';
  /** BASE_PATH of the backup datastore. */
  readonly basePath: string;
  readonly env: NodeJS.ProcessEnv;
  /** Told of each process when it starts. */
  readonly started?: (action: string, pid: number) => void;
}

export interface OnedActions {
  pre(): Promise<Ended>;
  backup(): Promise<Ended>;
  post(): Promise<Ended>;
  cancel(): Promise<Ended>;
}

/** The actions of one backup. */
export function actionsOf(wish: OnedBackup): OnedActions {
  const { host, location, diskIds, basePath, env } = wish;
  const known = parseVm(Buffer.from(wish.xml));
  const running = known.lcmState === 3;
  const xml = asInBackup(wish.xml, running, wish.fsFreeze ?? 'AGENT');
  const system = String(known.history?.datastoreId);
  const place = `${host}:${location}//${system}/${known.id}`;
  const deployId = known.deployId ?? '-';
  const args = [place, diskIds.join(':'), deployId, '-', String(known.id), system];
  const datastore = `<DATASTORE><ID>103</ID><NAME>backups</NAME><DS_MAD><![CDATA[onevmdump]]></DS_MAD><BASE_PATH><![CDATA[${basePath}]]></BASE_PATH><TEMPLATE/></DATASTORE>`;
  const run = (action: string, words: readonly string[], input: string): Promise<Ended> =>
    runToEnd(join(drivers, action), words, {
      env,
      input,
      started: (pid) => wish.started?.(action, pid),
    });
  const live = running ? '_live' : '';
  return {
    pre: () => run(`tm/prebackup${live}`, args, xml),
    async backup() {
      await mkdir(basePath, { recursive: true });
      const data = `<DS_DRIVER_ACTION_DATA>\n  ${datastore}\n  ${xml}\n</DS_DRIVER_ACTION_DATA>\n`;
      return await run('datastore/backup', args, data);
    },
    post: () => run(`tm/postbackup${live}`, args, xml),
    cancel: () => run('datastore/backup_cancel', [place, deployId], ''),
  };
}

/** All of them, as one_vmm_exec.rb runs them: `postbackup` also when one has failed. */
export async function backUp(actions: OnedActions): Promise<Ended> {
  const pre = await actions.pre();
  const made = pre.code === 0 ? await actions.backup() : pre;
  const post = await actions.post();
  const { code } = made.code === 0 ? post : made;
  return { code, stdout: made.stdout, stderr: pre.stderr + made.stderr + post.stderr };
}

/** The XML as drivers get it: on one line, in the state of a backup, with what the backup is to be. */
function asInBackup(xml: string, running: boolean, fsFreeze: string): string {
  const config = `<BACKUP_CONFIG><FS_FREEZE>${fsFreeze}</FS_FREEZE><LAST_DATASTORE_ID>103</LAST_DATASTORE_ID><MODE>FULL</MODE></BACKUP_CONFIG>`;
  return xml
    .replace(/<STATE>\d+<\/STATE>/, '<STATE>3</STATE>')
    .replace(/<LCM_STATE>\d+<\/LCM_STATE>/, `<LCM_STATE>${running ? 69 : 70}</LCM_STATE>`)
    .replace(/<BACKUP_CONFIG\/>/, config)
    .replaceAll(/>\s+</g, '><')
    .trim();
}

/** What the contract needs of a VM whose disks oned backs up, in place of exports by the command. */
export function backedUpByOned(
  scene: Pick<ExportScene, 'folder' | 'env' | 'onevmdump'>,
  vm: LabVm,
  {
    host = 'localhost',
    location,
    diskIds,
  }: Pick<OnedBackup, 'location' | 'diskIds'> & { readonly host?: string },
): Pick<ContractStorage, 'exportVm' | 'removeBundles' | 'cleanup'> {
  const basePath = join(scene.folder, 'datastore');
  const actions = async (
    fsFreeze: 'AGENT' | 'SUSPEND',
    env: NodeJS.ProcessEnv,
  ): Promise<OnedActions> =>
    actionsOf({
      xml: await vm.xml(),
      host,
      location,
      diskIds,
      fsFreeze,
      basePath,
      // Nobody answers: nothing is known about the images.
      env: { ...scene.env, ONE_XMLRPC: 'http://127.0.0.1:1/RPC2', ONE_AUTH: '/dev/null', ...env },
    });
  return {
    async exportVm(args, env = {}) {
      const debug = args.includes('-D') ? { ONEVMDUMP_DEBUG: '1' } : {};
      const way = args[args.indexOf('--snapshot') + 1];
      const snapshot = args.includes('--snapshot') ? { ONEVMDUMP_SNAPSHOT: way } : {};
      const freeze = args.includes('suspend') ? 'SUSPEND' : 'AGENT';
      const ended = await backUp(await actions(freeze, { ...env, ...debug, ...snapshot }));
      if (ended.code !== 0) return ended;
      const bundle = join(basePath, String(vm.id), ended.stdout.split(' ')[0] ?? '');
      const shown = await scene.onevmdump(['show', bundle, '--json']);
      return { ...ended, stdout: shown.stdout };
    },
    removeBundles: () => rm(basePath, { recursive: true, force: true }),
    // What an action leaves that is killed, postbackup releases, here when it was that one.
    cleanup: async () => (await actions('AGENT', {})).post(),
  };
}
