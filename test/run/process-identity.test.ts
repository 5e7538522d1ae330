import { describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  identify,
  isPlaceIn,
  ownPlace,
  placeName,
  stateOf,
  type ProcessIdentity,
} from '../../lib/run/process-identity.ts';

describe('a process identity', () => {
  test('a process identity is that of a running process while it runs, and of an ended one afterwards', async () => {
    const child = spawn('sleep', ['60']);
    const identity = await identify(child.pid!);
    expect(await stateOf(identity)).toBe('running');
    child.kill();
    await once(child, 'exit');
    expect(await stateOf(identity)).toBe('ended');
  });

  test('a process identity of the process itself has its pid', async () => {
    expect((await identify('self')).pid).toBe(process.pid);
    expect(await stateOf(await identify('self'))).toBe('running');
  });

  test('a process identity is not that of another process with the same number', async () => {
    const identity = await identify('self');
    expect(await stateOf({ ...identity, startTime: '1' })).toBe('ended');
  });
});

describe('a process that cannot be seen', () => {
  const machine = '0123456789abcdef0123456789abcdef';
  const of = async (fields: Partial<ProcessIdentity>) => ({
    ...(await identify('self')),
    ...fields,
  });

  test('a process that cannot be seen in another PID namespace of this machine may run', async () => {
    expect(await stateOf(await of({ pidNamespace: '1' }))).toBe('elsewhere');
  });

  test('a process that cannot be seen on another machine may run', async () => {
    expect(await stateOf(await of({ machineId: machine, bootId: 'b' }))).toBe('elsewhere');
  });

  test('a process that cannot be seen on a copy of this machine, which has its machine-id and another name, may run', async () => {
    expect(await stateOf(await of({ bootId: 'b', host: 'copy' }))).toBe('elsewhere');
  });

  test('a process that cannot be seen on a machine without a machine-id may run, unless it is this one since its last start', async () => {
    expect(await stateOf(await of({ machineId: '', bootId: 'b' }))).toBe('elsewhere');
  });

  test('a process that cannot be seen ended when this machine was started again', async () => {
    const { machineId } = await ownPlace();
    const state = await stateOf(await of({ bootId: 'another', pidNamespace: '1' }));
    expect(state).toBe(machineId === '' ? 'elsewhere' : 'ended');
  });
});

test('the name of a place has parts, and each beginning of it names all that is in it', () => {
  const place = { host: 'fe1', machineId: 'aa', bootId: 'bb', pidNamespace: '7' };
  expect(placeName(place)).toBe('fe1/aa/7');
  expect(placeName({ ...place, machineId: '' })).toBe('fe1/bb/7');
  for (const name of ['fe1', 'fe1/aa', 'fe1/aa/7']) expect(isPlaceIn(place, name)).toBe(true);
  for (const name of ['fe', 'fe1/a', 'fe1/aa/7/', 'fe1/aa/77', '']) {
    expect(isPlaceIn(place, name)).toBe(false);
  }
});
