import { MAX_REPLICAS } from "../residency/segment-index.ts";
import { boundedCapacity } from "./capacity.ts";
import { type Replica, type ReplicaHello, traitsOf } from "./replica.ts";
import { EXPIRED_AFTER_MS, FORGOTTEN_AFTER_CLOSE_MS, SUSPECT_AFTER_MS } from "../limits.ts";

/** Plain data, so that it can be stored with the index's checkpoint: slots must mean the same after a restart. */
export interface MembershipState {
  /** Fixed by the first hello; null before it. */
  model: string | null;
  specFingerprint: string | null;
  /** By slot, ascending. */
  replicas: readonly Replica[];
}

export type MembershipEvent =
  /** `connection`: the shell's number for the socket; `admitted`: its way back is proved already. */
  | { kind: "hello"; hello: ReplicaHello; connection: number; admitted: boolean }
  /** A nonce fetched from its URL was signed with its key: it can be reached, and has the key under which its admissions are signed. */
  | { kind: "admitted"; slot: number; epoch: number }
  /** It could not be reached at its URL (src/pool/way-back.ts). */
  | { kind: "unreached"; slot: number; epoch: number; reason: string }
  /** Anything came through its socket. `seq`: of the announce applied last. */
  | { kind: "heard"; slot: number; epoch: number; seq?: number }
  | { kind: "socketClosed"; slot: number; connection: number }
  | { kind: "drain"; slot: number; epoch: number }
  | { kind: "tick" };

/** Why a replica does not get in. `reason`: for whoever runs it; it holds names of the replica's own. */
export interface JoinRefusal {
  code: "hash_spec" | "model" | "pool_full" | "older_epoch";
  reason: string;
}

export type MembershipEffect =
  /** Close its socket with the reason. */
  | ({ kind: "refused"; name: string } & JoinRefusal)
  /** New here: ask for all it holds. */
  | { kind: "joined"; replica: Replica }
  /** Same epoch over a new socket: close `oldConnection`, reconcile leases, resync what is missing after `replica.seq`. */
  | { kind: "reconnected"; replica: Replica; oldConnection: number | null }
  /** A new epoch took over the name and slot: close the old socket, forget the slot's residency and leases. `joined` follows. */
  | { kind: "replaced"; old: Replica; replica: Replica }
  /** The pool now serves another model or hash spec. */
  | { kind: "adopted"; model: string; specFingerprint: string }
  | { kind: "becameReady"; replica: Replica }
  /** It gets nothing new until it is admitted; what runs there goes on. */
  | { kind: "unreached"; replica: Replica; reason: string }
  /** Its leases live 3 s unless it is heard again. */
  | { kind: "becameSuspect"; replica: Replica; reason: string }
  | { kind: "recovered"; replica: Replica }
  | { kind: "draining"; replica: Replica }
  /** Forget its residency and leases; its slot is free. */
  | { kind: "expired"; replica: Replica; reason: string };

interface MembershipStep {
  state: MembershipState;
  effects: MembershipEffect[];
}

export function emptyMembership(): MembershipState {
  return { model: null, specFingerprint: null, replicas: [] };
}

/** After a restart nobody is connected: all are suspect until they say hello again, and forgotten 3 s from now if they do not. */
export function restoreMembership(saved: MembershipState, nowMs: number): MembershipState {
  const gone = { state: "suspect", connection: null, admitted: false, closedAtMs: nowMs, joinedAtMs: nowMs, lastHeardMs: nowMs } as const;
  const replicas = saved.replicas.map((replica): Replica => ({ ...replica, ...gone }));
  return { ...saved, replicas };
}

/** Event → state and what the shell has to do about it. Events of an epoch or connection that no longer speaks for the name change nothing. */
export function applyMembership(state: MembershipState, event: MembershipEvent, nowMs: number): MembershipStep {
  switch (event.kind) {
    case "hello":
      return applyHello(state, event.hello, event.connection, event.admitted, nowMs);
    case "tick":
      return applyTick(state, nowMs);
    default: {
      const replica = state.replicas.find((known) => known.slot === event.slot);
      if (replica === undefined) return { state, effects: [] };
      if (event.kind === "socketClosed" ? replica.connection !== event.connection : replica.epoch !== event.epoch)
        return { state, effects: [] };
      return applyToReplica(state, replica, event, nowMs);
    }
  }
}

/** May be given new work of its roles. */
export function isReady(replica: Replica): boolean {
  return replica.state === "ready";
}

/** May take new requests: whoever does not decode only prefills for others. */
export function takesRequests(replica: Replica): boolean {
  return isReady(replica) && replica.roles.includes("decode");
}

type ReplicaEvent = Exclude<MembershipEvent, { kind: "hello" | "tick" }>;

function applyToReplica(state: MembershipState, replica: Replica, event: ReplicaEvent, nowMs: number): MembershipStep {
  switch (event.kind) {
    case "admitted": {
      if (replica.admitted) return { state, effects: [] };
      const admitted = { ...replica, admitted: true };
      // A replica that was not heard of for a while stays suspect until it is.
      const next = replica.state === "suspect" ? admitted : settled(admitted);
      return { state: put(state, next), effects: next.state === "ready" ? [{ kind: "becameReady", replica: next }] : [] };
    }
    case "unreached": {
      const unreached = { ...replica, admitted: false };
      const next = unreached.state === "suspect" ? unreached : settled(unreached);
      return { state: put(state, next), effects: [{ kind: "unreached", replica: next, reason: event.reason }] };
    }
    case "heard": {
      const heard = { ...replica, lastHeardMs: Math.max(replica.lastHeardMs, nowMs), seq: event.seq ?? replica.seq };
      const next = settled(heard);
      const recovered = replica.state === "suspect" && next.state !== "suspect";
      return { state: put(state, next), effects: recovered ? [{ kind: "recovered", replica: next }] : [] };
    }
    case "socketClosed": {
      const next: Replica = { ...replica, state: "suspect", connection: null, closedAtMs: nowMs };
      return { state: put(state, next), effects: [{ kind: "becameSuspect", replica: next, reason: "its socket closed" }] };
    }
    case "drain": {
      if (replica.draining) return { state, effects: [] };
      const draining = { ...replica, draining: true };
      const next = draining.state === "suspect" ? draining : settled(draining);
      return { state: put(state, next), effects: [{ kind: "draining", replica: next }] };
    }
  }
}

function applyHello(state: MembershipState, hello: ReplicaHello, connection: number, admitted: boolean, nowMs: number): MembershipStep {
  const known = state.replicas.find((replica) => replica.name === hello.name);
  if (known !== undefined && hello.epoch < known.epoch)
    return refuse(state, hello, "older_epoch", `a newer epoch of ${hello.name} is here (${known.epoch}, this one is ${hello.epoch})`);
  const { state: fitting, effects, refusal } = adopt(state, hello, known);
  if (refusal !== null) return refuse(state, hello, refusal.code, refusal.reason);
  if (known !== undefined && hello.epoch === known.epoch) {
    const capacity = boundedCapacity(hello.capacity);
    const url = hello.url;
    const back = {
      ...known,
      url,
      capacity,
      ...traitsOf(hello),
      connection,
      closedAtMs: null,
      lastHeardMs: nowMs,
    };
    // Who is somewhere else now may be another process that only says so.
    const next = settled({ ...back, admitted: admitted || (known.admitted && known.url === url) });
    return { state: put(fitting, next), effects: [...effects, { kind: "reconnected", replica: next, oldConnection: known.connection }] };
  }
  const slot = known?.slot ?? freeSlot(fitting);
  if (slot === null) return refuse(state, hello, "pool_full", `the pool is full: ${MAX_REPLICAS} replicas are here already`);
  const { name, epoch, url } = hello;
  const capacity = boundedCapacity(hello.capacity);
  const identity = { slot, name, epoch, url, capacity, ...traitsOf(hello) };
  const fresh = settled({
    ...identity,
    state: "joining",
    connection,
    joinedAtMs: nowMs,
    lastHeardMs: nowMs,
    closedAtMs: null,
    admitted,
    draining: false,
    seq: 0,
  });
  if (known !== undefined) effects.push({ kind: "replaced", old: known, replica: fresh });
  effects.push({ kind: "joined", replica: fresh });
  return { state: put(fitting, fresh), effects };
}

/** Fixes model and hash spec at the first hello. Another is refused while any other replica is connected; else it is adopted and what is left of the old is forgotten. */
function adopt(
  state: MembershipState,
  hello: ReplicaHello,
  known: Replica | undefined,
): { state: MembershipState; effects: MembershipEffect[]; refusal: JoinRefusal | null } {
  const { model, specFingerprint } = hello;
  if (state.model === model && state.specFingerprint === specFingerprint) return { state, effects: [], refusal: null };
  const others = state.replicas.filter((replica) => replica !== known);
  if (others.some((replica) => replica.connection !== null)) {
    const refusal: JoinRefusal =
      state.model === model
        ? { code: "hash_spec", reason: `the pool's hash spec is ${state.specFingerprint}, this replica's is ${specFingerprint}` }
        : { code: "model", reason: `the pool serves ${state.model}, this replica serves ${model}` };
    return { state, effects: [], refusal };
  }
  const reason = `the pool now serves ${model} with hash spec ${specFingerprint}`;
  const effects = others.map((replica): MembershipEffect => ({ kind: "expired", replica: { ...replica, state: "lost" }, reason }));
  effects.push({ kind: "adopted", model, specFingerprint });
  return { state: { model, specFingerprint, replicas: known === undefined ? [] : [known] }, effects, refusal: null };
}

function applyTick(state: MembershipState, nowMs: number): MembershipStep {
  const effects: MembershipEffect[] = [];
  const replicas: Replica[] = [];
  for (const replica of state.replicas) {
    const silentMs = nowMs - replica.lastHeardMs;
    const closedMs = replica.closedAtMs === null ? 0 : nowMs - replica.closedAtMs;
    if (silentMs >= EXPIRED_AFTER_MS || closedMs >= FORGOTTEN_AFTER_CLOSE_MS) {
      const reason = closedMs >= FORGOTTEN_AFTER_CLOSE_MS ? `its socket closed ${closedMs} ms ago` : `silent for ${silentMs} ms`;
      effects.push({ kind: "expired", replica: { ...replica, state: "lost" }, reason });
    } else if (silentMs >= SUSPECT_AFTER_MS && replica.state !== "suspect") {
      const suspect: Replica = { ...replica, state: "suspect" };
      effects.push({ kind: "becameSuspect", replica: suspect, reason: `silent for ${silentMs} ms` });
      replicas.push(suspect);
    } else replicas.push(replica);
  }
  return effects.length === 0 ? { state, effects } : { state: { ...state, replicas }, effects };
}

/** The state of a replica that was just heard. */
function settled(replica: Replica): Replica {
  if (replica.connection === null) return { ...replica, state: "suspect" };
  return { ...replica, state: replica.draining ? "draining" : replica.admitted ? "ready" : "joining" };
}

function put(state: MembershipState, replica: Replica): MembershipState {
  const replicas = state.replicas.filter((other) => other.slot !== replica.slot);
  const after = replicas.findIndex((other) => other.slot > replica.slot);
  replicas.splice(after === -1 ? replicas.length : after, 0, replica);
  return { ...state, replicas };
}

function freeSlot(state: MembershipState): number | null {
  for (let slot = 0; slot < MAX_REPLICAS; slot++) if (!state.replicas.some((replica) => replica.slot === slot)) return slot;
  return null;
}

function refuse(state: MembershipState, hello: ReplicaHello, code: JoinRefusal["code"], reason: string): MembershipStep {
  return { state, effects: [{ kind: "refused", name: hello.name, code, reason }] };
}
