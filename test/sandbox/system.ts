// one.system.*, and the least of users and hosts that clients ask for.
import { errorCode, Failure, noSuch, unauthorized } from './failure.ts';
import {
  imageRestrictedAttributes,
  inheritedNetworkAttributes,
  vmRestrictedAttributes,
} from './oned-conf.ts';
import { quotasXml } from './quotas-xml.ts';
import { Template, cdata } from './template.ts';
import { isAdmin, userXml } from './users.ts';
import type { Handler, MethodTable } from './world.ts';

/**
 * The settings of oned.conf that tell a client something about storage, rights and networks. Up to 6.8 only
 * administrators may ask, from 6.10 on all may (RequestManagerSystem.cc, read in 6.4.7, 6.8.3, 6.10.5, 7.4.0).
 */
const configuration: Handler = ({ world, user }) => {
  const { dir, release } = world.settings;
  if (!isAdmin(user) && !release.atLeast('6.10.0')) {
    throw unauthorized(
      user.id,
      'The oned configuration can only be retrieved by users in the oneadmin group',
    );
  }
  const config = new Template();
  const values = {
    DATASTORE_LOCATION: `${dir}//datastores`,
    DEFAULT_CDROM_DEVICE_PREFIX: 'hd',
    DEFAULT_DEVICE_PREFIX: 'sd',
    DEFAULT_IMAGE_TYPE: 'OS',
    DEFAULT_UMASK: '177',
  };
  for (const [name, value] of Object.entries(values)) config.add(name, value);
  const lists = {
    VM_RESTRICTED_ATTR: vmRestrictedAttributes(release),
    IMAGE_RESTRICTED_ATTR: imageRestrictedAttributes(release),
    INHERIT_VNET_ATTR: inheritedNetworkAttributes(release),
  };
  for (const [name, list] of Object.entries(lists)) {
    for (const value of list) config.add(name, value);
  }
  return config.toXml('OPENNEBULA_CONFIGURATION');
};

const hostXml =
  '<HOST><ID>0</ID><NAME>localhost</NAME><STATE>2</STATE><PREV_STATE>2</PREV_STATE>' +
  `<IM_MAD>${cdata('qemu')}</IM_MAD><VM_MAD>${cdata('qemu')}</VM_MAD><CLUSTER_ID>0</CLUSTER_ID>` +
  '<CLUSTER>default</CLUSTER></HOST>';

const clusterXml =
  '<CLUSTER><ID>0</ID><NAME>default</NAME><HOSTS><ID>0</ID></HOSTS><DATASTORES><ID>0</ID><ID>1</ID>' +
  '<ID>2</ID><ID>100</ID><ID>101</ID></DATASTORES><VNETS><ID>0</ID></VNETS><TEMPLATE></TEMPLATE></CLUSTER>';

const userInfo: Handler = ({ world, user, params }) => {
  const id = params.int(1);
  const found = world.users.byId(id === -1 ? user.id : id);
  return userXml(found, quotasXml(world, found));
};

const groups = { 0: 'oneadmin', 1: 'users' } as const;

function groupXml(id: 0 | 1): string {
  const quotas =
    '<DATASTORE_QUOTA></DATASTORE_QUOTA><NETWORK_QUOTA></NETWORK_QUOTA><VM_QUOTA></VM_QUOTA><IMAGE_QUOTA></IMAGE_QUOTA>';
  return (
    `<GROUP><ID>${id}</ID><NAME>${groups[id]}</NAME><TEMPLATE></TEMPLATE><USERS></USERS><ADMINS></ADMINS>` +
    `${quotas}<DEFAULT_GROUP_QUOTAS>${quotas}</DEFAULT_GROUP_QUOTAS></GROUP>`
  );
}

const groupInfo: Handler = ({ user, params }) => {
  const asked = params.int(1);
  const id = asked === -1 ? user.gid : asked;
  if (id !== 0 && id !== 1)
    throw new Failure(errorCode.noExists, `Error getting group [${id}].`, id);
  return groupXml(id);
};

const hostInfo: Handler = ({ params }) => {
  const id = params.int(1);
  if (id !== 0) throw noSuch('host', id);
  return hostXml;
};

export const systemMethods: MethodTable = {
  'one.cluster.info': ({ params }) => {
    const id = params.int(1);
    if (id !== 0) throw noSuch('cluster', id);
    return clusterXml;
  },
  'one.clusterpool.info': () => `<CLUSTER_POOL>${clusterXml}</CLUSTER_POOL>`,
  'one.group.info': groupInfo,
  'one.grouppool.info': () => `<GROUP_POOL>${groupXml(0)}${groupXml(1)}</GROUP_POOL>`,
  'one.host.info': hostInfo,
  'one.hostpool.info': () => `<HOST_POOL>${hostXml}</HOST_POOL>`,
  'one.system.config': configuration,
  'one.system.version': ({ world }) => world.settings.release.text,
  'one.user.info': userInfo,
  'one.userpool.info': ({ world }) =>
    `<USER_POOL>${world.users.list.map((one) => userXml(one, quotasXml(world, one))).join('')}</USER_POOL>`,
};
