/** Lists such as `driver=qcow2,file.filename=a,,b`: pairs between commas, a comma inside a value is written twice. */

/** A pair of a key-value list. */
export interface KeyValue {
  readonly key: string
  readonly value: string
}

/**
 * The pairs of `text`, in order. A word without `=` is the value of `impliedKey` where it comes first and there is an
 * implied key; else it stands for `word=on`, and `noword` for `word=off`.
 */
export function parseKeyValues(text: string, impliedKey?: string): KeyValue[] {
  if (text === '') return []
  return splitCommas(text).map((word, i) => {
    const equals = word.indexOf('=')
    if (equals >= 0) return { key: word.slice(0, equals), value: word.slice(equals + 1) }
    if (i === 0 && impliedKey !== undefined) return { key: impliedKey, value: word }
    return word.startsWith('no') ? { key: word.slice(2), value: 'off' } : { key: word, value: 'on' }
  })
}

/** `text` cut at single commas; double ones become one. A comma at the end adds nothing. */
function splitCommas(text: string): string[] {
  const words: string[] = []
  let word = ''
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== ',') word += text[i]
    else if (text[i + 1] === ',') {
      word += ','
      i++
    } else {
      words.push(word)
      word = ''
    }
  }
  if (word !== '' || !text.endsWith(',') || words.length === 0) words.push(word)
  return words
}

/** The pairs as an object with dotted keys; of a key that is given twice the last value counts, as in QEMU. */
export function toObject(pairs: readonly KeyValue[]): Record<string, string> {
  const result: Record<string, string> = Object.create(null)
  for (const { key, value } of pairs) result[key] = value
  return result
}

/** Whether a list asks for help: `help` or `?` stands in it as a word. */
export function asksForHelp(text: string): boolean {
  return splitCommas(text).some((word) => word === 'help' || word === '?')
}
