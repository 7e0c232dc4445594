import { runImg } from './img/main.ts'
import { main } from './main.ts'

await main(runImg, false)
