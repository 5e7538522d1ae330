// A sandbox with one small image, and short ways to try a template in it.
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { call, mustCall } from './call.ts';
import { startSandbox } from './sandbox.ts';
import type { Sandbox } from './sandbox.ts';
import { parseXml } from './xml-tree.ts';
import { templateFromElement } from './template.ts';
import type { Template } from './template.ts';
import { elements } from './xml-tree.ts';

export interface Rules {
  readonly sandbox: Sandbox;
  /** A file of one MiB. */
  readonly file: string;
  /** The id of a READY image of oneadmin's. */
  readonly image: number;
  /** Registers a template and instantiates it on hold. @returns the VM's id, or oned's error text. */
  instantiate(template: string, authFile?: string, extra?: string): Promise<string>;
  /** TEMPLATE and USER_TEMPLATE of the VM that a template makes. @throws Error when it makes none. */
  make(template: string): Promise<{ id: number; template: Template; userTemplate: Template }>;
  stop(): Promise<void>;
}

/** What stands in front of every reason for which oned cannot make a VM. */
export const cannotMake =
  '[one.template.instantiate] Error allocating a new virtual machine template. ';

export async function startRules(version?: string): Promise<Rules> {
  const dir = await mkdtemp(join(tmpdir(), 'sandbox-rules-'));
  const sandbox = await startSandbox({
    dir: join(dir, 'one'),
    imageCopyMs: 0,
    deployMs: 0,
    ...(version === undefined ? {} : { version }),
  });
  const file = join(dir, 'disk.raw');
  await writeFile(file, 'hello');
  await truncate(file, 1048576);
  const image = await sandbox.makeImage({ name: 'os', file, format: 'raw' });
  let last = 0;

  const instantiate: Rules['instantiate'] = async (
    template,
    authFile = sandbox.authFile,
    extra = '',
  ) => {
    const as = { endpoint: sandbox.endpoint, authFile };
    last += 1;
    const name = template.startsWith('NAME=') ? '' : `NAME=t${last}\n`;
    const cpu = template.startsWith('CPU=') ? '' : 'CPU=1\n';
    const text = `${name}${cpu}MEMORY=64\n${template}`;
    const allocated = await call(as, 'one.template.allocate', text);
    if (!allocated.ok) return allocated.value;
    const args = ['', true, extra] as const;
    return (await call(as, 'one.template.instantiate', Number(allocated.value), ...args)).value;
  };
  const make: Rules['make'] = async (template) => {
    const answer = await instantiate(template);
    const id = Number(answer);
    if (!Number.isInteger(id)) throw new Error(answer);
    const root = parseXml(await mustCall(sandbox, 'one.vm.info', id));
    const part = (name: string): Template =>
      templateFromElement(elements(root).find((one) => one.name === name)!);
    return { id, template: part('TEMPLATE'), userTemplate: part('USER_TEMPLATE') };
  };
  return {
    sandbox,
    file,
    image,
    instantiate,
    make,
    async stop() {
      await sandbox.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
