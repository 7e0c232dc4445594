/** JSON as QEMU's tools print it: indented by four, members in the order of QEMU's dictionaries. */

/**
 * QEMU prints members in the order of its hash table. This is that order for the names that occur, as read off its
 * output; other names follow in the order they come.
 */
const order: readonly string[] = [
  // info
  'backing-filename-format',
  'snapshots',
  'icount',
  'vm-clock-nsec',
  'virtual-size',
  'flags',
  'name',
  'granularity',
  'date-sec',
  'date-nsec',
  'vm-clock-sec',
  // check
  'image-end-offset',
  'compressed-clusters',
  'total-clusters',
  'corruptions-fixed',
  'corruptions',
  'check-errors',
  'leaks-fixed',
  'leaks',
  'allocated-clusters',
  // both
  'filename',
  'cluster-size',
  'format',
  'actual-size',
  'format-specific',
  'type',
  'full-backing-filename',
  'backing-filename',
  'encrypted',
  'dirty-flag',
  'id',
  'vm-state-size',
  'fragmented-clusters',
  // of qcow2
  'compat',
  'compression-type',
  'lazy-refcounts',
  'bitmaps',
  'refcount-bits',
  'data-file',
  'data-file-raw',
  'encrypt',
  'corrupt',
  'extended-l2',
]
const ranks = new Map(order.map((name, rank) => [name, rank]))

/** Lists longer than this are given out item by item. */
const longList = 64

/** What {@link qemuJson} returns, in pieces: the items of long lists, of the value or of one of its members, apart. */
export function* qemuJsonPieces(value: unknown, indent = ''): Generator<string> {
  const inner = `${indent}    `
  if (Array.isArray(value)) {
    if (value.length <= longList) yield qemuJson(value, indent)
    else yield* enclosed('[', value, ']', indent, (item) => [inner + qemuJson(item, inner)])
  } else if (typeof value !== 'object' || value === null || !Object.values(value).some(isLong)) {
    yield qemuJson(value, indent)
  } else {
    const members = inQemuOrder(Object.entries(value).filter(([, member]) => member !== undefined))
    yield* enclosed('{', members, '}', indent, function* ([key, member]) {
      yield `${inner}${text(key)}: `
      yield* qemuJsonPieces(member, inner)
    })
  }
}

function isLong(value: unknown): boolean {
  return Array.isArray(value) && value.length > longList
}

function* enclosed<Item>(
  open: string,
  items: readonly Item[],
  close: string,
  indent: string,
  write: (item: Item) => Iterable<string>,
): Generator<string> {
  let before = `${open}\n`
  for (const item of items) {
    yield before
    yield* write(item)
    before = ',\n'
  }
  yield `\n${indent}${close}`
}

/** `value` as QEMU prints it, without a newline at the end. Undefined members are left out. */
export function qemuJson(value: unknown, indent = ''): string {
  const inner = `${indent}    `
  if (Array.isArray(value)) {
    if (value.length === 0) return `[\n${indent}]`
    return `[\n${value.map((item) => inner + qemuJson(item, inner)).join(',\n')}\n${indent}]`
  }
  if (typeof value !== 'object' || value === null) return scalar(value)
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  if (members.length === 0) return `{\n${indent}}`
  const lines = inQemuOrder(members).map(([key, member]) => `${inner}${text(key)}: ${qemuJson(member, inner)}`)
  return `{\n${lines.join(',\n')}\n${indent}}`
}

function scalar(value: unknown): string {
  return typeof value === 'string' ? text(value) : JSON.stringify(value)
}

const shortEscapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
}

/** QEMU escapes all but printable ASCII, with capital digits. */
function text(value: string): string {
  const escaped = value.replace(
    /[^ !#-[\]-~]/g,
    (char) => shortEscapes[char] ?? `\\u${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`,
  )
  return `"${escaped}"`
}

/** Members in the order in which QEMU prints them; unknown ones last, as they come. */
export function inQemuOrder(members: readonly [string, unknown][]): [string, unknown][] {
  const rank = (name: string): number => ranks.get(name) ?? order.length
  return [...members].sort(([a], [b]) => rank(a) - rank(b))
}
