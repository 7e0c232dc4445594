/** JSON as QEMU writes it: a space behind colons and commas, ASCII only; members that are undefined are left out. */

/** One line, or with `pretty` several, indented by four. */
export function jsonText(value: unknown, pretty = false): string {
  return written(value, pretty ? '\n' : undefined)
}

function written(value: unknown, line: string | undefined): string {
  if (Array.isArray(value))
    return enclosed(
      '[',
      value.map((item) => written(item, deeper(line))),
      ']',
      line,
    )
  if (typeof value === 'string') return quoted(value)
  if (typeof value === 'bigint') return String(value)
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const members: string[] = []
  for (const [name, member] of Object.entries(value)) {
    if (member !== undefined) members.push(`${quoted(name)}: ${written(member, deeper(line))}`)
  }
  return enclosed('{', members, '}', line)
}

function enclosed(open: string, items: readonly string[], close: string, line: string | undefined): string {
  if (line === undefined) return open + items.join(', ') + close
  return `${open}${items.map((item) => `${deeper(line)}${item}`).join(',')}${line}${close}`
}

function deeper(line: string | undefined): string | undefined {
  return line === undefined ? undefined : `${line}    `
}

function quoted(text: string): string {
  return JSON.stringify(text).replace(/\\(?:u[0-9a-f]{4}|.)|[\x7f-\uffff]/g, (part) => {
    if (part.length === 1) return `\\u${hex(part)}`
    return part.length === 2 ? part : `\\u${part.slice(2).toUpperCase()}`
  })
}

function hex(char: string): string {
  return char.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')
}
