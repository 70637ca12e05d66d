/**
 * Python pickles as data: an interpreter that builds containers and cannot call anything.
 *
 * A pickle is a program. Its names (`os.system`) and calls are what makes loading one dangerous; here a name means what
 * the reader's own table says, or is an error, and a "call" only applies an entry of that table. Protocols 2 to 4.
 *
 * Source: CPython, Lib/pickletools.py.
 */
import { DataError } from "../core/errors.ts";

/** What a name of the table does with the arguments that a pickle gives it. */
export class PickleFunction {
  constructor(readonly name: string, readonly apply: (args: readonly unknown[]) => unknown) {}
}

/** An object of a class that is known by its name only: fields, no behaviour. */
export class PickleObject {
  fields: ReadonlyMap<unknown, unknown> = new Map();
  constructor(readonly className: string) {}
}

/** A class whose objects are read as `PickleObject`. */
export class PickleClass {
  constructor(readonly name: string) {}
}

/** What a pickle's names and persistent ids mean. Each may throw a `DataError`; the byte is added. */
export interface PickleNames {
  global(module: string, name: string): unknown;
  persistent(id: unknown): unknown;
}

/**
 * Reads one pickle. Lists and tuples are arrays, dicts are maps; whole numbers beyond 2^53 are bigints.
 *
 * @param name What errors call the pickle.
 * @throws {DataError} If the pickle is malformed or names what `names` does not know; says at which byte.
 *
 * @example Usage
 * ```ts
 * const names = { global: () => undefined, persistent: () => undefined };
 * const value = readPickle(new Uint8Array([0x80, 2, 0x5d, 0x4b, 7, 0x61, 0x2e]), "example", names); // [7]
 * if (!Array.isArray(value) || value[0] !== 7) throw new Error("readPickle");
 * ```
 */
export function readPickle(bytes: Uint8Array, name: string, names: PickleNames): unknown {
  const machine = new Machine(bytes, names);
  try {
    return machine.run();
  } catch (cause) {
    if (!(cause instanceof DataError)) throw cause;
    throw new DataError(`${name}: ${cause.message}`, {
      where: `${name}, byte ${machine.opAt}`,
      fix: cause.fix ?? "the file is damaged or no PyTorch checkpoint; download or write it again",
      cause,
    });
  }
}

/** A dict is one byte of a pickle and some hundred of memory. A tensor takes about thirty values. */
const MAX_VALUES = 1_000_000;

class Machine {
  /** Where the instruction that runs began. */
  opAt = 0;
  #at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #names: PickleNames;
  #pushed = 0;
  readonly #stack: unknown[] = [];
  /** Heights of the stack at the open marks: nothing below the last one can be popped. */
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, unknown>();

  constructor(bytes: Uint8Array, names: PickleNames) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#names = names;
  }

  run(): unknown {
    for (;;) {
      this.opAt = this.#at;
      const op = this.#uint(1);
      if (op === 0x2e) return this.#result(); // STOP
      this.#step(op);
    }
  }

  #result(): unknown {
    if (this.#stack.length !== 1 || this.#marks.length !== 0) {
      throw new DataError(
        `the pickle stops with ${this.#stack.length} values and ${this.#marks.length} open marks`,
      );
    }
    return this.#stack[0];
  }

  /** One instruction, by its byte; the names are pickletools'. */
  #step(op: number): void {
    const push = (value: unknown) => {
      if (++this.#pushed > MAX_VALUES) throw new DataError(`the pickle makes more than ${MAX_VALUES} values`);
      this.#stack.push(value);
    };
    switch (op) {
      case 0x80: { // PROTO
        const protocol = this.#uint(1);
        if (protocol < 2 || protocol > 5) {
          throw new DataError(`pickle protocol ${protocol}, known are 2 to 5`);
        }
        return;
      }
      case 0x95: // FRAME: a hint about lengths
        return void this.#take(8);
      case 0x28: // MARK
        return void this.#marks.push(this.#stack.length);
      case 0x4e: // NONE
        return push(null);
      case 0x88: // NEWTRUE
        return push(true);
      case 0x89: // NEWFALSE
        return push(false);
      case 0x4a: // BININT
        return push(this.#view.getInt32(this.#take(4), true));
      case 0x4b: // BININT1
        return push(this.#uint(1));
      case 0x4d: // BININT2
        return push(this.#uint(2));
      case 0x8a: // LONG1
        return push(this.#long(this.#uint(1)));
      case 0x47: // BINFLOAT: big endian, as the only one
        return push(this.#view.getFloat64(this.#take(8), false));
      case 0x8c: // SHORT_BINUNICODE
        return push(this.#text(this.#uint(1)));
      case 0x58: // BINUNICODE
        return push(this.#text(this.#uint(4)));
      case 0x43: // SHORT_BINBYTES
        return push(this.#raw(this.#uint(1)));
      case 0x42: // BINBYTES
        return push(this.#raw(this.#uint(4)));
      case 0x5d: // EMPTY_LIST
      case 0x29: // EMPTY_TUPLE
        return push([]);
      case 0x7d: // EMPTY_DICT
        return push(new Map());
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        return push(this.#popMany(op - 0x84));
      case 0x74: // TUPLE
        return push(this.#popMark());
      case 0x61: // APPEND
        return this.#append(this.#popMany(1));
      case 0x65: // APPENDS
        return this.#append(this.#popMark());
      case 0x73: // SETITEM
        return this.#setItems(this.#popMany(2));
      case 0x75: // SETITEMS
        return this.#setItems(this.#popMark());
      case 0x71: // BINPUT
        return void this.#memo.set(this.#uint(1), this.#top());
      case 0x72: // LONG_BINPUT
        return void this.#memo.set(this.#uint(4), this.#top());
      case 0x94: // MEMOIZE
        return void this.#memo.set(this.#memo.size, this.#top());
      case 0x68: // BINGET
        return push(this.#recall(this.#uint(1)));
      case 0x6a: // LONG_BINGET
        return push(this.#recall(this.#uint(4)));
      case 0x63: // GLOBAL
        return push(this.#names.global(this.#line(), this.#line()));
      case 0x93: { // STACK_GLOBAL
        const [module, name] = this.#popMany(2);
        if (typeof module !== "string" || typeof name !== "string") {
          throw new DataError("a name that is no text");
        }
        return push(this.#names.global(module, name));
      }
      case 0x51: // BINPERSID
        return push(this.#names.persistent(this.#popMany(1)[0]));
      case 0x52: { // REDUCE
        const [callee, args] = this.#popMany(2);
        if (!(callee instanceof PickleFunction)) throw new DataError("the pickle calls what is no function");
        if (!Array.isArray(args)) throw new DataError(`the arguments of ${callee.name} are no tuple`);
        return push(callee.apply(args));
      }
      case 0x81: { // NEWOBJ
        const [type, args] = this.#popMany(2);
        if (!(type instanceof PickleClass)) {
          throw new DataError("the pickle makes an object of what is no class");
        }
        if (!Array.isArray(args) || args.length > 0) {
          throw new DataError(`${type.name} is made with arguments`);
        }
        return push(new PickleObject(type.name));
      }
      case 0x62: // BUILD
        return this.#build(this.#popMany(1)[0]);
      default:
        throw new DataError(`unknown pickle instruction 0x${op.toString(16).padStart(2, "0")}`);
    }
  }

  /** Moves on by `length` bytes and tells where they begin. */
  #take(length: number): number {
    const at = this.#at;
    if (length > this.#bytes.length - at) {
      throw new DataError(`the pickle ends at byte ${this.#bytes.length}, ${length} bytes are read at ${at}`);
    }
    this.#at += length;
    return at;
  }

  #raw(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  #uint(length: 1 | 2 | 4): number {
    const at = this.#take(length);
    if (length === 1) return this.#view.getUint8(at);
    return length === 2 ? this.#view.getUint16(at, true) : this.#view.getUint32(at, true);
  }

  /** Two's complement, little endian; longer than 8 bytes is no size of anything. */
  #long(length: number): number | bigint {
    if (length > 8) throw new DataError(`a whole number of ${length} bytes, more than 8`);
    const bytes = this.#raw(length);
    const unsigned = bytes.reduceRight((sum, byte) => sum << 8n | BigInt(byte), 0n);
    const value = BigInt.asIntN(8 * length, unsigned);
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }

  #text(length: number): string {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.#raw(length));
    } catch (cause) {
      if (!(cause instanceof TypeError)) throw cause;
      throw new DataError("a text is not UTF-8", { cause });
    }
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw new DataError("the pickle ends inside a name");
    const text = this.#text(end - this.#at);
    this.#take(1);
    return text;
  }

  #popMany(count: number): unknown[] {
    const floor = this.#marks.at(-1) ?? 0;
    if (this.#stack.length - floor < count) {
      throw new DataError(`stack underflow: ${count} values wanted, ${this.#stack.length - floor} there`);
    }
    return this.#stack.splice(this.#stack.length - count);
  }

  #popMark(): unknown[] {
    const height = this.#marks.pop();
    if (height === undefined) throw new DataError("no mark is open");
    return this.#stack.splice(height);
  }

  #top(): unknown {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) {
      throw new DataError("stack underflow: no value there");
    }
    return this.#stack.at(-1);
  }

  #recall(index: number): unknown {
    if (!this.#memo.has(index)) throw new DataError(`memo ${index} was never set`);
    return this.#memo.get(index);
  }

  #append(items: readonly unknown[]): void {
    const list = this.#top();
    if (!Array.isArray(list)) throw new DataError("items are appended to what is no list");
    for (const item of items) list.push(item); // not push(...items): there may be more than a call can take
  }

  #setItems(items: readonly unknown[]): void {
    const dict = this.#top();
    if (!(dict instanceof Map)) throw new DataError("items are set in what is no dict");
    if (items.length % 2) throw new DataError("a dict's key has no value");
    for (let i = 0; i < items.length; i += 2) dict.set(items[i], items[i + 1]);
  }

  /** The state of an object. A dict may have attributes too (`state_dict()._metadata`): they are left out. */
  #build(state: unknown): void {
    const object = this.#top();
    if (object instanceof Map) return;
    if (!(object instanceof PickleObject)) throw new DataError("a state is given to what is no object");
    if (!(state instanceof Map)) throw new DataError(`the state of ${object.className} is no dict`);
    object.fields = state;
  }
}
