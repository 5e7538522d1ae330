// Which objects of a pool a pool call shows. Source: RequestManagerPoolInfoFilter.cc of 6.10.5.
import { Failure } from './failure.ts';
import type { Kind } from './failure.ts';
import { authorize } from './users.ts';
import type { Owned } from './users.ts';
import type { Call } from './world.ts';

function mayUse(call: Call, kind: Kind, object: Owned): boolean {
  try {
    authorize(call.user, kind, object, 'USE', false);
    return true;
  } catch (error) {
    if (error instanceof Failure) return false;
    throw error;
  }
}

/**
 * Newest first. The filter is parameter 1: -4 the user's primary group's, -3 his own, -2 all he may use,
 * -1 his and his group's, from 0 on those of that user; 2 and 3 are the first and last id.
 */
export function shownTo<T extends Owned>(
  call: Call,
  kind: Kind,
  pool: ReadonlyMap<number, T>,
): readonly T[] {
  const { params, user } = call;
  const filter = params.int(1);
  const [first, last] = [params.int(2), params.int(3)];
  if (filter < -4) throw new Failure(0x1000, 'Incorrect filter_flag');
  const mine = (one: T): boolean => one.uid === user.id;
  const group = (one: T): boolean => one.gid === user.gid;
  const wanted = (one: T): boolean => {
    if (filter === -4) return group(one);
    if (filter === -3) return mine(one);
    if (filter === -2) return true;
    return filter === -1 ? mine(one) || group(one) : one.uid === filter;
  };
  const inRange = (one: T): boolean => one.id >= first && (last < 0 || one.id <= last);
  return [...pool.values()]
    .filter((one) => wanted(one) && inRange(one) && mayUse(call, kind, one))
    .sort((a, b) => b.id - a.id);
}
