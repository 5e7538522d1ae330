// What oned answers: XML-RPC, the XML in it, and HTTP around it.
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import type { AddressInfo } from 'node:net';
import { findGroup, findUser, getGroup, ownAccount } from '../../../lib/one/accounts.ts';
import { createOneClient, type OneClient } from '../../../lib/one/client.ts';
import { findDatastore, getDatastore } from '../../../lib/one/datastores.ts';
import {
  findDiskImage,
  findFolderImage,
  getImage,
  imageNames,
  skipCapacityFlag,
} from '../../../lib/one/images.ts';
import { readReply } from '../../../lib/one/messages.ts';
import { findNetwork, getNetwork } from '../../../lib/one/networks.ts';
import { exceededQuota } from '../../../lib/one/quotas.ts';
import { restrictedAttributes } from '../../../lib/one/restricted-attributes.ts';
import { oneVersion } from '../../../lib/one/system.ts';
import { templateNames } from '../../../lib/one/templates.ts';
import { getVm, vmsOfTemplate } from '../../../lib/one/vms.ts';
import { quiet } from '../../support/nbd-servers.ts';
import { fileAt, filesIn } from '../folder.ts';
import { mutate } from '../mutations.ts';
import { inEachWay } from '../reading.ts';
import type { Target } from '../target.ts';
import { mutateText, mutateXml } from '../text-mutations.ts'; // prettier-ignore

/** Recorded answers of oned, with their HTTP headers. */
const recorded = (): readonly Buffer[] => [
  ...filesIn('fixtures/captures', /\.resp$/),
  ...filesIn('fixtures/xmlrpc', /\.resp$/),
];

/** The XML-RPC in the recorded answers that have a value. */
const replies = (): readonly Buffer[] =>
  recorded().flatMap((bytes) => {
    const body = bytes.subarray(bytes.indexOf('\r\n\r\n') + 4);
    return /<boolean>1<\/boolean>/.test(body.toString()) ? [body] : [];
  });

export const xmlRpc: Target = {
  name: 'xml-rpc',
  seeds: replies,
  mutate: mutateXml,
  refuses: ['OpenNebulaError'],
  read: (input) => readReply(input, 'one.vm.info'),
};

const pool = (name: string, one: string): Buffer => Buffer.from(`<${name}>${one}</${name}>`);
const noDeclaration = (path: string): string =>
  fileAt(path)
    .toString()
    .replace(/<\?xml[^>]*>\s*/, '');

/** Everything that is asked of oned, with this text as the answer. */
export const oneAnswers: Target = {
  name: 'one-answers',
  seeds() {
    const datastore = noDeclaration('fixtures/xmlrpc/datastore-1.xml');
    const image = noDeclaration('fixtures/xmlrpc/image-9.xml');
    const vm = noDeclaration('fixtures/vm/vm-undeployed-simple.xml');
    return [
      fileAt('fixtures/vm/vm-undeployed-simple.xml'),
      ...filesIn('fixtures/xmlrpc', /\.xml$/),
      ...[pool('DATASTORE_POOL', datastore), pool('IMAGE_POOL', image + image), pool('VM_POOL', vm)],
      ...answersOfOned.map((text) => Buffer.from(text)),
    ];
  },
  mutate: mutateXml,
  refuses: ['OpenNebulaError', 'UsageError'],
  async read(input) {
    const answer = input.toString();
    const one: OneClient = {
      endpoint: 'http://localhost:2633/RPC2',
      call: () => Promise.resolve(answer),
      text: () => Promise.resolve(answer),
      id: () => Promise.resolve(7),
    };
    const datastores = new Map([[1, { IMAGES: 1, SIZE: 10 }]]);
    const demand = { datastores, vm: { CPU: 1, MEMORY: 64 }, leases: new Map([[1, 1]]) };
    return await inEachWay(
      () => getVm(one, 7),
      () => vmsOfTemplate(one, 3),
      () => getImage(one, 9),
      () => findDiskImage(one, 9),
      () => findFolderImage(one, 9),
      () => imageNames(one),
      () => templateNames(one),
      () => getDatastore(one, 1),
      () => findDatastore(one, 'default'),
      () => getNetwork(one, 1),
      () => findNetwork(one, 'private'),
      async () => exceededQuota((await ownAccount(one)).xml, demand),
      () => getGroup(one, 1),
      () => findUser(one, 'oneadmin'),
      () => findGroup(one, 'users'),
      () => restrictedAttributes(one),
      async () => skipCapacityFlag(await oneVersion(one)),
    );
  },
}; // prettier-ignore

/** In oned's form, shortened. */
const answersOfOned = [
  '<USER><ID>2</ID><GID>1</GID><GROUPS><ID>1</ID><ID>100</ID></GROUPS><GNAME>users</GNAME><NAME>bob</NAME><TEMPLATE/><VM_QUOTA><VM><CPU>4</CPU><CPU_USED>1</CPU_USED><MEMORY>1024</MEMORY><MEMORY_USED>64</MEMORY_USED><VMS>-1</VMS><VMS_USED>2</VMS_USED><RUNNING_VMS>-2</RUNNING_VMS><SYSTEM_DISK_SIZE>-1</SYSTEM_DISK_SIZE></VM></VM_QUOTA><DATASTORE_QUOTA><DATASTORE><ID>1</ID><IMAGES>3</IMAGES><IMAGES_USED>2</IMAGES_USED><SIZE>100</SIZE><SIZE_USED>20</SIZE_USED></DATASTORE></DATASTORE_QUOTA></USER>',
  '<USER_POOL><USER><ID>0</ID><GID>0</GID><NAME>oneadmin</NAME></USER><USER><ID>2</ID><GID>1</GID><NAME>bob</NAME></USER></USER_POOL>',
  '<GROUP_POOL><GROUP><ID>0</ID><NAME>oneadmin</NAME></GROUP><GROUP><ID>1</ID><NAME>users</NAME></GROUP></GROUP_POOL>',
  '<VNET><ID>1</ID><UID>0</UID><GID>0</GID><NAME>private</NAME><AR_POOL><AR><AR_ID>0</AR_ID><IP>10.0.0.1</IP><IP_END>10.0.0.9</IP_END><MAC>02:00:0a:00:00:01</MAC><MAC_END>02:00:0a:00:00:09</MAC_END><SIZE>9</SIZE><TYPE>IP4</TYPE><LEASES><LEASE><IP>10.0.0.2</IP><MAC>02:00:0a:00:00:02</MAC><VM>7</VM></LEASE></LEASES></AR></AR_POOL><TEMPLATE/></VNET>',
  '<VNET_POOL><VNET><ID>1</ID><NAME>private</NAME></VNET></VNET_POOL>',
  '<OPENNEBULA_CONFIGURATION><VM_RESTRICTED_ATTR><![CDATA[NIC/MAC]]></VM_RESTRICTED_ATTR><VM_RESTRICTED_ATTR>RAW/DATA</VM_RESTRICTED_ATTR></OPENNEBULA_CONFIGURATION>',
  '<VMTEMPLATE_POOL><VMTEMPLATE><ID>3</ID><NAME>web</NAME></VMTEMPLATE></VMTEMPLATE_POOL>',
  '6.10.5',
];

/** A server that sends these bytes to whoever connects, then ends the connection. */
let server: Promise<Server> | undefined;
let sent: Buffer = Buffer.alloc(0);

async function startServer(): Promise<Server> {
  const started = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end(sent));
  });
  started.listen(0, '127.0.0.1');
  await once(started, 'listening');
  return started;
}

export const oneHttp: Target = {
  name: 'one-http',
  seeds: recorded,
  mutate: (seed, chance) =>
    chance.below(2) === 0 ? mutateText(seed.subarray(0, 2000), chance) : mutate(seed, chance),
  refuses: ['OpenNebulaError'],
  async read(input) {
    const { port } = (await (server ??= startServer())).address() as AddressInfo;
    sent = input;
    const endpoint = `http://127.0.0.1:${port}/RPC2`;
    const one = createOneClient({ endpoint, session: 'a:b', timeoutMs: 30_000, log: quiet });
    return await one.call('one.vm.info', 7);
  },
  async close() {
    (await server)?.close();
    server = undefined;
  },
};
