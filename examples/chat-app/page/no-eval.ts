/** The page's policy forbids code that is made of strings. zod, which the AI SDK parses events with, would try it. Import this first. */
import { config } from "zod";

config({ jitless: true });
