/**
 * Writes the types of the package, one file for each entry: what its modules
 * export, and the types that these name.
 *
 * @module
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import ts from "typescript";

const OPTIONS: ts.CompilerOptions = {
  declaration: true,
  emitDeclarationOnly: true,
  allowImportingTsExtensions: true,
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.NodeNext,
  lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
  strict: true,
  stripInternal: true,
  types: [],
};

/** What a target of ES2023 has not got by itself. */
const LIB = '/// <reference lib="esnext.disposable" />\n';

type Declared = ts.DeclarationStatement | ts.VariableStatement;

/** The entry whose types the others import. */
interface Main {
  name: string;
  symbols: ReadonlySet<ts.Symbol>;
}

/**
 * @param sources The entries' modules by the names of their files; the first
 * one is the main one, whose types the others import.
 */
export async function writeDeclarations(
  root: string,
  sources: Readonly<Record<string, string>>,
  folder: string,
): Promise<void> {
  const paths = Object.values(sources).map((it) => join(root, it));
  const program = declarationsOf(paths);
  const checker = program.getTypeChecker();
  let main: Main | undefined;
  for (const [name, source] of Object.entries(sources)) {
    const file = program.getSourceFile(declarationPath(join(root, source)))!;
    const module = checker.getSymbolAtLocation(file)!;
    const exported = new Map(
      checker.getExportsOfModule(module).map((it) =>
        [originOf(it, checker), isTypeOnly(it)] as const
      ),
    );
    const text = rolledUp(exported, checker, main);
    main ??= { name, symbols: new Set(exported.keys()) };
    await writeFile(join(folder, `${name}.d.mts`), LIB + text);
  }
}

/** Whether an export is no value, though a class may stand behind it. */
function isTypeOnly({ declarations = [] }: ts.Symbol): boolean {
  return declarations.some((it) =>
    ts.isExportSpecifier(it) && (it.isTypeOnly || it.parent.parent.isTypeOnly)
  );
}

/** The declarations of modules and all that they import, as a program. */
function declarationsOf(paths: string[]): ts.Program {
  const files = new Map<string, string>();
  const sources = ts.createProgram(paths, OPTIONS);
  sources.emit(undefined, (path, text) => void files.set(path, text));
  const options = { ...OPTIONS, noEmit: true };
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists } = host;
  host.readFile = (path) => files.get(path) ?? readFile(path);
  host.fileExists = (path) =>
    files.has(path) || (!files.has(declarationPath(path)) && fileExists(path));
  const { getSourceFile } = host;
  host.getSourceFile = (path, ...rest) => {
    const text = files.get(path);
    return text === undefined
      ? getSourceFile(path, ...rest)
      : ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true);
  };
  return ts.createProgram(paths.map(declarationPath), options, host);
}

function declarationPath(path: string): string {
  return path.replace(/\.ts$/, ".d.ts");
}

function originOf(symbol: ts.Symbol, checker: ts.TypeChecker): ts.Symbol {
  return symbol.flags & ts.SymbolFlags.Alias
    ? checker.getAliasedSymbol(symbol)
    : symbol;
}

/** The declarations of symbols, by whether they are types alone, and of all that they name. */
function rolledUp(
  exported: ReadonlyMap<ts.Symbol, boolean>,
  checker: ts.TypeChecker,
  main?: Main,
): string {
  const own = new Set<ts.Symbol>();
  const foreign = new Set<ts.Symbol>();
  const pending = [...exported.keys()];
  for (let symbol = pending.pop(); symbol; symbol = pending.pop()) {
    if (main?.symbols.has(symbol)) foreign.add(symbol);
    else if (!own.has(symbol)) {
      own.add(symbol);
      for (const it of declarations(symbol)) {
        pending.push(...named(it, checker));
      }
    }
  }
  const names = [...own, ...foreign].map(({ name }) => name);
  const twice = names.find((it, index) => names.indexOf(it) !== index);
  if (twice !== undefined) throw new Error(`Two types are named ${twice}`);
  const from = ` from "./${main?.name}.mjs"`;
  return [
    listed("import type", foreign, from),
    ...[...own].sort((a, b) => a.name < b.name ? -1 : 1).flatMap((symbol) =>
      declarations(symbol).map((it) =>
        printed(it, exported.get(symbol) === false)
      )
    ),
    listed("export type", [...own].filter((it) => exported.get(it)), ""),
    listed("export type", [...foreign].filter((it) => exported.has(it)), from),
    "export {};\n",
  ].filter((it) => it !== "").join("\n");
}

function listed(
  what: string,
  symbols: Iterable<ts.Symbol>,
  from: string,
): string {
  const names = Array.from(symbols, ({ name }) => name).sort().join(", ");
  return names && `${what} { ${names} }${from};\n`;
}

/** The declarations of a symbol of ours. */
function declarations(symbol: ts.Symbol): Declared[] {
  return (symbol.declarations ?? []).map((node): ts.Node =>
    ts.isVariableDeclaration(node) ? node.parent.parent : node
  ).filter((node): node is Declared => ts.isSourceFile(node.parent));
}

/** What a declaration names of what modules of ours declare. */
function named(node: ts.Node, checker: ts.TypeChecker): ts.Symbol[] {
  const found: ts.Symbol[] = [];
  const visit = (it: ts.Node): void => {
    if (ts.isIdentifier(it)) {
      const symbol = checker.getSymbolAtLocation(it);
      const origin = symbol && originOf(symbol, checker);
      const isForeign = symbol && symbol !== origin && !origin?.declarations;
      if (isForeign || ts.isImportTypeNode(it.parent)) {
        throw new Error(`${it.text} of another package is in a public type`);
      }
      if (origin && isOurs(origin)) found.push(origin);
    }
    ts.forEachChild(it, visit);
  };
  visit(node);
  return found;
}

function isOurs(symbol: ts.Symbol): boolean {
  const [first] = declarations(symbol);
  return first !== undefined && !first.getSourceFile().hasNoDefaultLib;
}

/** A declaration with its comment. */
function printed(node: Declared, isExported: boolean): string {
  const file = node.getSourceFile();
  const text = file.text.slice(node.getStart(file, true), node.end);
  const comment = text.slice(
    0,
    node.getStart(file) - node.getStart(file, true),
  );
  const code = text.slice(comment.length)
    .replace(/^(?:export )?(?:declare )?/, "");
  const isType = ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node);
  return `${comment}${isExported ? "export " : ""}${
    isType ? "" : "declare "
  }${code}\n`;
}
