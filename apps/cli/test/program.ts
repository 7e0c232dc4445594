/** Runs the program that the first word names, from its sources: `tsx test/program.ts img info disk.raw`. */
import { programs } from '../src/tools.ts'

const [name] = process.argv.splice(2, 1)
await programs[name as keyof typeof programs]()
