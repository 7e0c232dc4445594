/** Rows of cells as aligned columns. */

/** One line for each row; the columns at `right` are aligned to the right. Widths leave escape sequences out. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths: number[] = []
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, visibleWidth(cell))
  }
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => pad(cell, widths[i] as number, right.includes(i)))
      .join('  ')
      .trimEnd()
  return rows.map((row) => `${line(row)}\n`).join('')
}

function pad(cell: string, width: number, right: boolean): string {
  const space = ' '.repeat(width - visibleWidth(cell))
  return right ? space + cell : cell + space
}

function visibleWidth(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape sequences of colours
  return [...text.replace(/\x1b\[[0-9;]*m/g, '')].length
}
