// oned's error answers: a code, a text and the id of the object it could not get.

/** Request::ErrorCode of oned. */
export const errorCode = {
  authentication: 0x100,
  authorization: 0x200,
  noExists: 0x400,
  action: 0x800,
  internal: 0x2000,
  allocate: 0x4000,
} as const;

/** An answer `[false, text, code, object id, -1]`; the text gets its `[method] ` in front later. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly code: number;
  readonly objectId: number;
  constructor(code: number, text: string, objectId = -1) {
    super(text);
    this.code = code;
    this.objectId = objectId;
  }
}

/** The words oned uses for its kinds of objects: in "Error getting" and in authorisation. */
export const kinds = {
  vm: { noun: 'virtual machine', tag: 'VM' },
  image: { noun: 'image', tag: 'IMAGE' },
  template: { noun: 'virtual machine template', tag: 'TEMPLATE' },
  datastore: { noun: 'datastore', tag: 'DATASTORE' },
  network: { noun: 'virtual network', tag: 'NET' },
  user: { noun: 'user', tag: 'USER' },
  cluster: { noun: 'cluster', tag: 'CLUSTER' },
  host: { noun: 'host', tag: 'HOST' },
} as const;

export type Kind = keyof typeof kinds;

export function noSuch(kind: Kind, id: number): Failure {
  const which = id === -1 ? 'Pool.' : `[${id}].`;
  return new Failure(errorCode.noExists, `Error getting ${kinds[kind].noun} ${which}`, id);
}

export function unauthenticated(): Failure {
  return new Failure(errorCode.authentication, "User couldn't be authenticated, aborting call.");
}

export function unauthorized(uid: number, why: string): Failure {
  return new Failure(errorCode.authorization, `User [${uid}] : ${why}.`);
}

/** The object is in a state that does not allow it. */
export function refused(text: string): Failure {
  return new Failure(errorCode.action, text);
}

export function internal(text: string, objectId = -1): Failure {
  return new Failure(errorCode.internal, text, objectId);
}

export function notAllocated(kind: Kind, text: string): Failure {
  return new Failure(errorCode.allocate, `Error allocating a new ${kinds[kind].noun}. ${text}`);
}
