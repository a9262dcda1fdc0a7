// Every word of the page, in both languages.

const WORDS = {
  en: {
    equation: "Equation", symbols: "What the letters mean", code: "Code", graph: "Graph",
    controls: "Step through the computation", first: "First step", previous: "Previous step",
    next: "Next step", last: "Last step", play: "Play", pause: "Pause", slider: "Step",
    help: "Keys", keys: "Keys", close: "Close", language: "中文", languageLabel: "用中文显示",
    theme: { auto: "Auto", light: "Light", dark: "Dark" }, themeLabel: "Colours",
    forward: "Forward", backward: "Backward", follow: "follow", unfollow: "Stop following",
    pass: { forward: "Forward pass", backward: "Backward pass" },
    count: (i, n) => `step ${i} of ${n}`,
    countFollowed: (k, m, i, n) => `${k} of ${m} steps it takes part in · step ${i} of ${n}`,
    following: name => `Following ${name}.`,
    followLabel: name => `Follow ${name}`,
    again: (line, time, changes) => changes > 1 ? ` (changed in place ${changes} times)`
      : changes ? " (changed in place)"
      : line === null ? " (argument)" : time ? ` (line ${line}, no. ${time})` : ` (line ${line})`,
    fold: n => `… ${n} more lines`, unfold: "fold the docstring",
    noSource: "The source of this function cannot be read.",
    noSteps: "Nothing was computed with Tensors, so there are no steps to show.",
    noGraph: "The graph has too many boxes to be drawn.",
    about: (section, source) => source,
    ofResult: (name, isSum) => isSum ? `L = sum of all elements of ${name}` : `L = ${name}`,
    key: "Rounded boxes are inputs. Choose a box to go to the step that computes it.",
    shape: shape => shape.length === 1 ? `length ${shape[0]}` : shape.join(" × "),
    elided: shown => `the first ${shown.join(" × ")} are shown`,
    empty: "no elements", row: "row", numbers: "numbers", numbersLabel: name => `Show the numbers of ${name}`,
    result: "result", incoming: "incoming gradient", local: "local derivative",
    contribution: "contribution", accumulated: "gradient so far", earlier: "gradient before",
    complete: "gradient, complete",
    rule: "Rule", letters: "Their numbers",
    letterG: "incoming gradient", letterY: "result of this op",
    letterX: ["first argument", "second argument", "third argument"],
    notElementwise: "The op mixes elements, so the rule goes from g to the contribution in one move.",
    summed: "Summed over the axes along which the argument was broadcast.",
    many: "several outputs: each has its own",
    sayForward: (op, from, to) => from ? `${op} takes ${from} and gives ${to}.` : `${op} gives ${to}.`,
    sayComplete: (of, first) => first
      ? `The way back begins: the gradient of L with respect to ${of} is 1.`
      : `All that uses ${of} has reported: its gradient is complete and is now passed on.`,
    sayBack: (op, of, first) => first
      ? `Back through ${op}: ${of} receives its first contribution.`
      : `Back through ${op}: ${of} receives a further contribution, which is added.`,
    sayValue: value => ` Value: ${value}.`, sayGradient: value => ` Gradient so far: ${value}.`,
    sayShape: shape => shape.length === 1 ? `an array of ${shape[0]} numbers` : `a ${shape.join(" × ")} array`,
    and: " and ", comma: ", ",
    keyList: [["→ ←", "next, previous step"], ["Home End", "first, last step"], ["Space", "play, pause"],
      ["f", "follow the value of this step, or stop"], ["Esc", "stop following"],
      ["↑ ↓", "in the code or graph: move; Enter goes there"], ["n", "numbers in all arrays, or colours"],
      ["l", "Chinese"], ["?", "these keys"]],
  },
  zh: {
    equation: "公式", symbols: "符号含义", code: "代码", graph: "计算图",
    controls: "逐步浏览计算过程", first: "第一步", previous: "上一步",
    next: "下一步", last: "最后一步", play: "播放", pause: "暂停", slider: "步骤",
    help: "快捷键", keys: "快捷键", close: "关闭", language: "English", languageLabel: "Show in English",
    theme: { auto: "自动", light: "浅色", dark: "深色" }, themeLabel: "配色",
    forward: "前向", backward: "反向", follow: "跟踪", unfollow: "停止跟踪",
    pass: { forward: "前向传播", backward: "反向传播" },
    count: (i, n) => `第 ${i} 步，共 ${n} 步`,
    countFollowed: (k, m, i, n) => `相关的 ${m} 步中的第 ${k} 步 · 全部 ${n} 步中的第 ${i} 步`,
    following: name => `正在跟踪 ${name}。`,
    followLabel: name => `跟踪 ${name}`,
    again: (line, time, changes) => changes > 1 ? `（已原地修改 ${changes} 次）` : changes ? "（已原地修改）"
      : line === null ? "（参数）" : time ? `（第 ${line} 行第 ${time} 次）` : `（第 ${line} 行）`,
    fold: n => `… 还有 ${n} 行`, unfold: "收起文档字符串",
    noSource: "读不到这个函数的源代码。",
    noSteps: "计算过程中没有用到 Tensor，因此没有可以显示的步骤。",
    noGraph: "计算图的节点太多，不予绘制。",
    about: (section, source) => section === "-" ? source : `文章第 ${section} 节`,
    ofResult: (name, isSum) => isSum ? `L = ${name} 的所有元素之和` : `L = ${name}`,
    key: "圆角框是输入。选中一个框，即可跳到算出它的那一步。",
    shape: shape => shape.length === 1 ? `长度 ${shape[0]}` : shape.join(" × "),
    elided: shown => `只显示前 ${shown.join(" × ")}`,
    empty: "没有元素", row: "行", numbers: "数值", numbersLabel: name => `显示 ${name} 的数值`,
    result: "结果", incoming: "传入的梯度", local: "局部导数",
    contribution: "本步的贡献", accumulated: "已累积的梯度", earlier: "此前累积的梯度", complete: "完整的梯度",
    rule: "求导规则", letters: "它们的数值",
    letterG: "传入的梯度", letterY: "该运算的结果",
    letterX: ["第一个参数", "第二个参数", "第三个参数"],
    notElementwise: "该运算不是逐元素的，规则直接由 g 得到本步的贡献。",
    summed: "参数曾被广播，因此沿广播的轴求和。",
    many: "有多个输出，各有各的梯度",
    sayForward: (op, from, to) => from ? `${op}：由 ${from} 算出 ${to}。` : `${op}：算出 ${to}。`,
    sayComplete: (of, first) => first
      ? `反向传播开始：L 对 ${of} 的梯度为 1。`
      : `用到 ${of} 的各步都已回传，它的梯度已经完整，接着继续向前回传。`,
    sayBack: (op, of, first) => first
      ? `反向经过 ${op}：${of} 得到第一份梯度贡献。`
      : `反向经过 ${op}：${of} 又得到一份梯度贡献，与之前的相加。`,
    sayValue: value => `值：${value}。`, sayGradient: value => `已累积的梯度：${value}。`,
    sayShape: shape => shape.length === 1 ? `长度为 ${shape[0]} 的数组` : `${shape.join(" × ")} 的数组`,
    and: " 和 ", comma: "、",
    keyList: [["→ ←", "下一步、上一步"], ["Home End", "第一步、最后一步"], ["空格", "播放、暂停"],
      ["f", "跟踪这一步的值，再按一次停止"], ["Esc", "停止跟踪"],
      ["↑ ↓", "在代码或计算图中移动，回车键跳转"], ["n", "所有数组在数值与颜色之间切换"],
      ["l", "英文"], ["?", "显示快捷键"]],
  },
};

let language = document.documentElement.lang.startsWith("zh") ? "zh" : "en";

const words = () => WORDS[language];

/** Put the words of the language at hand into everything that names one. */
function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = words()[node.dataset.word];
  for (const node of document.querySelectorAll("[data-label]")) {
    node.setAttribute("aria-label", words()[node.dataset.label]);
    node.title = words()[node.dataset.label];
  }
}
